"""Computation in single precision, also where a caller asks for half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def single_precision(device: torch.device) -> AbstractContextManager[None]:
    """Return a context without autocast, which would compute products on this device in half precision.

    Where autocast is off already, the context does nothing: an exporter makes a graph of its own from each context
    that it meets, which takes up to a fifth of its time.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

"""Faster imports of large libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Context for the import of PyTorch and the libraries on top of it, in which Python does not look for garbage.

    They create several hundred thousand objects, nearly all of which live as long as the process. The collector would
    go through them again and again while they are created, which takes a fifth of the time, and again with the first
    images. After this context it leaves them out. If PyTorch has been imported before, nothing changes.
    """
    if "torch" in sys.modules:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

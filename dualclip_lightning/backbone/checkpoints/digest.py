"""Digests that identify weights."""

from __future__ import annotations

import hashlib

from torch import nn


def weights_digest(module: nn.Module, more: str = "") -> str:
    """Return the SHA-256 of all weights by name, shape and value in single precision, and of `more`."""
    sha = hashlib.sha256(more.encode())
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().float().cpu().contiguous().numpy())
    return sha.hexdigest()

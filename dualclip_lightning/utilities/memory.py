"""Detection of errors that mean that memory ran out."""

from __future__ import annotations

import torch

WORDS = ("allocate memory", "out of memory", "status_alloc_failed")
"""Parts of messages of CPUs, GPUs and their libraries, in lower case, where torch.OutOfMemoryError is not raised."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of a device ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)

"""Running out of memory, in whatever words."""

from __future__ import annotations

import torch

WORDS = ("allocate memory", "out of memory", "status_alloc_failed")
"""What CPUs, GPUs and their libraries say, in any case, where they do not raise torch.OutOfMemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)

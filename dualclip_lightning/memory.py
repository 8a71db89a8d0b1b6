"""Running out of memory, in whatever words."""

from __future__ import annotations

import torch

WORDS = ("allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
"""What CPUs, GPUs and their libraries say where they do not raise torch.OutOfMemoryError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)

"""Advice for a run that is out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dualclip_lightning.utilities.memory import is_out_of_memory


@contextmanager
def out_of_memory_advice(batch: int, levers: Sequence[str] = ()) -> Iterator[None]:
    """Convert an out-of-memory error into a sentence with a remedy.

    Args:
        batch: number of images that were scored at once.
        levers: other ways to save memory, each as an imperative such as "lower image_size".

    Raises:
        RuntimeError: memory ran out; this replaces the allocator's own error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        advice = " or ".join([f"Lower eval_batch_size of the data (now {batch})", *levers])
        msg = f"A batch of {batch} does not fit in memory. {advice}."
        raise RuntimeError(msg) from error

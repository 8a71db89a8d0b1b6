"""What a run that ran out of memory is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dualclip_lightning.utilities.memory import is_out_of_memory


@contextmanager
def out_of_memory_advice(batch: int, levers: Sequence[str] = ()) -> Iterator[None]:
    """Turn running out of memory into a sentence that says what to change.

    Args:
        batch: how many images were scored at once.
        levers: what else the method needs less memory with, each as an order, such as "lower image_size".

    Raises:
        RuntimeError: instead of the allocator's own error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        advice = " or ".join([f"Lower eval_batch_size of the data (now {batch})", *levers])
        msg = f"A batch of {batch} does not fit in memory. {advice}."
        raise RuntimeError(msg) from error

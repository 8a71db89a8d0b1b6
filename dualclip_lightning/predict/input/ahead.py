"""Reading of images in threads, one chunk ahead of the images that are encoded and scored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input.reader import Prepared, ViewReader

READERS = 4
"""Number of threads that read and resize images for the model."""


class _Read(NamedTuple):
    image: Prepared | Failure
    began: float
    ended: float


class ReadAhead:
    """Threads that read images for the model; while a chunk is in use, they read the next one, but no further.

    Args:
        sources: all images of the run.
        reader: reader that prepares them for the model.
        upcoming: disjoint chunks of positions that will be taken, in the order in which they are needed.
    """

    def __init__(self, sources: Sequence[Source], reader: ViewReader, upcoming: Iterable[Sequence[int]] = ()) -> None:
        self._sources = sources
        self._reader = reader
        # Chunks that were neither begun nor taken, by their first position.
        self._upcoming = {chunk[0]: chunk for chunk in upcoming}
        self._begun: dict[int, Future[_Read]] = {}
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

    def take(self, chunk: Sequence[int]) -> tuple[list[Prepared | Failure], float]:
        """Return images, waiting for those that are not yet read, and begin to read the next chunk.

        Returns:
            The images in order, and the seconds in which they were read together.

        Raises:
            BaseException: The error, other than an `ImageError`, with which the first of them could not be read.
        """
        for position in chunk:
            self._upcoming.pop(position, None)
        begun = [self._begun.pop(p) if p in self._begun else self._begin(p) for p in chunk]
        read = [future.result() for future in begun]
        if not self._begun and self._upcoming:
            following = self._upcoming.pop(next(iter(self._upcoming)))
            self._begun = {position: self._begin(position) for position in following}
        return [each.image for each in read], max(each.ended for each in read) - min(each.began for each in read)

    def close(self) -> None:
        """End the threads; images that are being read are waited for, and others are not begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, position: int) -> Future[_Read]:
        return self._pool.submit(self._read, self._sources[position])

    def _read(self, source: Source) -> _Read:
        began = time.perf_counter()
        image: Prepared | Failure
        try:
            image = self._reader.prepare(source.name, source.load())
        except ImageError as error:
            image = Failure(source.name, str(error))
        return _Read(image, began, time.perf_counter())

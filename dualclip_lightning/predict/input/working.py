"""Bounded cache of the images of a run that are in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input.reader import EncodedImage, Prepared, Reference, ViewReader

if TYPE_CHECKING:
    from typing_extensions import Self

READERS = 4
"""Number of threads that read and resize images for the model."""


class WorkingSet:
    """Encoded images by position; the least recently used one is removed first. Failures are kept.

    Args:
        sources: all images of the run.
        encoder: encoder of the images.
        keep: number of images to hold.
    """

    def __init__(self, sources: Sequence[Source], encoder: ViewReader, keep: int) -> None:
        self._sources = sources
        self._encoder = encoder
        self._keep = keep
        self._images: OrderedDict[int, EncodedImage] = OrderedDict()
        self._failures: dict[int, Failure] = {}
        self._seconds: dict[int, float] = {}
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __getitem__(self, position: int) -> EncodedImage | Failure:
        """Return the image, encoding it if necessary."""
        self.fetch([position])
        if position in self._failures:
            return self._failures[position]
        self._images.move_to_end(position)
        return self._images[position]

    def fetch(self, positions: Iterable[int]) -> None:
        """Read the images that are not in memory and encode them together."""
        missing = [p for p in positions if p not in self._images and p not in self._failures]
        if not missing:
            return
        start = time.perf_counter()
        read = dict(zip(missing, self._pool.map(self._read, missing), strict=True))
        self._failures.update({p: image for p, image in read.items() if isinstance(image, Failure)})
        prepared = {p: image for p, image in read.items() if isinstance(image, Prepared)}
        self._images.update(zip(prepared, self._encoder.encode(list(prepared.values())), strict=True))
        share = (time.perf_counter() - start) / len(missing)
        self._seconds.update(dict.fromkeys(missing, share))
        while len(self._images) > max(self._keep, len(prepared)):
            self._images.popitem(last=False)

    def first_readable(self, candidates: Iterator[int], count: int) -> list[Reference]:
        """Return the first `count` candidates that can be read, as references."""
        found: list[Reference] = []
        while len(found) < count and (position := next(candidates, None)) is not None:
            image = self[position]
            if isinstance(image, EncodedImage):
                found.append(image.as_reference)
        return found

    @contextmanager
    def timed(self, position: int) -> Iterator[None]:
        """Add the time spent in the context to an image's time."""
        start = time.perf_counter()
        yield
        self._seconds[position] = self._seconds.get(position, 0.0) + time.perf_counter() - start

    def seconds(self, position: int) -> float:
        """Return the time spent on an image since the last call."""
        return self._seconds.pop(position, 0.0)

    def _read(self, position: int) -> Prepared | Failure:
        source = self._sources[position]
        try:
            return self._encoder.prepare(source.name, source.load())
        except ImageError as error:
            return Failure(source.name, str(error))

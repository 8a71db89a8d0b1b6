"""Bounded cache of the images of a run that are in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input.ahead import ReadAhead
from dualclip_lightning.predict.input.reader import EncodedImage, Prepared, Reference, ViewReader

if TYPE_CHECKING:
    from typing_extensions import Self


class WorkingSet:
    """Encoded images by position; the least recently used one is removed first. Failures are kept.

    The last bits of an embedding depend on the batch in which it is computed. An image is therefore always encoded with
    the same others, so that neither an interruption nor a division among several processes changes a score.

    Args:
        sources: all images of the run.
        encoder: encoder of the images.
        keep: number of images to hold.
        chunks: positions of images that are encoded together, each at most once; the others are encoded one by one.
        upcoming: those of the chunks that will be needed, in their order. While one is encoded and used, the next is
            read; none is read ahead if this is empty.
    """

    def __init__(
        self, sources: Sequence[Source], encoder: ViewReader, keep: int, chunks: Iterable[Sequence[int]] = (),
        upcoming: Iterable[Sequence[int]] = (),
    ) -> None:  # fmt: skip
        self._encoder = encoder
        self._keep = keep
        self._chunks = {position: chunk for chunk in chunks for position in chunk}
        self._images: OrderedDict[int, EncodedImage] = OrderedDict()
        self._failures: dict[int, Failure] = {}
        self._seconds: dict[int, float] = {}
        self._ahead = ReadAhead(sources, encoder, upcoming)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ahead.close()

    def __getitem__(self, position: int) -> EncodedImage | Failure:
        """Return the image, encoding its chunk if necessary."""
        if position not in self._images and position not in self._failures:
            self._fetch(self._chunks.get(position, [position]))
        if position in self._failures:
            return self._failures[position]
        self._images.move_to_end(position)
        return self._images[position]

    def _fetch(self, chunk: Sequence[int]) -> None:
        """Read images and encode them together."""
        missing = [position for position in chunk if position not in self._failures]
        taken, reading = self._ahead.take(missing)
        read = dict(zip(missing, taken, strict=True))
        start = time.perf_counter()  # the seconds of reading are known, and may have passed beside other work
        self._failures.update({p: image for p, image in read.items() if isinstance(image, Failure)})
        prepared = {p: image for p, image in read.items() if isinstance(image, Prepared)}
        self._images.update(zip(prepared, self._encoder.encode(list(prepared.values())), strict=True))
        share = (reading + time.perf_counter() - start) / len(missing)
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

"""The pictures of a run: each is drawn once, by threads, beside the scoring if nothing has to wait for its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.painting import common_scale
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry, Journal, Stamp, file_stamp
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.log import Log
from dualclip_lightning.predict.output.pictures.drawing import DrawableImage, Drawing, PatchMap, draw_files, look
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.threads import Crew, cores

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_THREADS = 8
"""Largest number of threads; each holds one image and its map at full size."""
AHEAD = 2
"""Number of images per thread that may be waiting or drawn before they are asked for."""


class Drawings:
    """The pictures of the images in a journal, with a log of those that are drawn.

    Args:
        journal: journal of the scores and maps.
        drawing: choice of the files.
        max_megapixels: limit above which images are refused.
        threads: number of threads that draw; None for one per core, up to 8.

    Raises:
        OSError: If the log cannot be written.
    """

    def __init__(
        self, journal: Journal, drawing: Drawing, max_megapixels: float = MAX_MEGAPIXELS, threads: int | None = None
    ) -> None:
        self.journal = journal
        self.drawing = drawing
        self.max_megapixels = max_megapixels
        self._log = Log(journal.folder / "drawn.jsonl")
        # By file, since images of different runs may share one; the last entry is the image that drew it.
        self._drawn: dict[str, tuple[str, str, Stamp]] = {
            file: (r["name"], r["look"], tuple(r["stamp"])) for r in self._log if "files" in r for file in r["files"]
        }
        self._recording = Lock()
        threads = threads or min(cores(), MOST_THREADS)
        self._crew = Crew(threads, AHEAD * threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew.__exit__(kind, error, trace)
        self._log.__exit__(kind, error, trace)

    def begin(self, entry: Entry, patch_map: PatchMap, layout: Layout, threshold: Threshold | None) -> None:
        """Begin to draw an image that was just scored, unless the scale is that of the run.

        Whatever goes wrong is left to `finish`, which draws what the log lacks and reports it, so that no score is
        lost because of a picture. If the threads cannot keep up, it waits for the oldest image.
        """
        if not self.drawing.waits_for_the_run:
            draw = partial(self._draw, drawing=self.drawing, layout=layout, threshold=threshold)
            self._crew.begin(draw, (entry, patch_map))

    def wait(self) -> None:
        """Wait for all images that `begin` began."""
        self._crew.wait()

    def finish(self, names: Sequence[str], layout: Layout, threshold: Threshold | None) -> Iterator[Failure | None]:
        """Draw every image that is not yet drawn with this threshold and scale.

        Files of other images or kinds that earlier runs left are removed.

        Yields:
            None for an image that is drawn, a failure for one that can no longer be read (its score is kept).

        Raises:
            OSError: If a result cannot be written.
        """
        self.wait()
        drawing = self._with_scale(names)
        current = {path for name in names for path in _files(name, layout, threshold, drawing).values()}
        for path in {layout.folder / file for file in self._drawn} - current:
            path.unlink(missing_ok=True)
        draw = partial(self._draw, drawing=drawing, layout=layout, threshold=threshold)
        # Maps are read by this thread: NumPy parses their headers with ast, which Python 3.11 cannot do in two at once.
        yield from self._crew.map(draw, ((self.journal.entries[name], self.journal.patch_map(name)) for name in names))

    def _with_scale(self, names: Sequence[str]) -> Drawing:
        if not self.drawing.waits_for_the_run:
            return self.drawing
        on_patches = self.drawing.drawer.on_patches
        return replace(self.drawing, scale=common_scale(on_patches(self.journal.patch_map(name)) for name in names))

    def _draw(
        self, item: tuple[Entry, PatchMap], drawing: Drawing, layout: Layout, threshold: Threshold | None
    ) -> Failure | None:
        entry, patch_map = item
        files = _files(entry.name, layout, threshold, drawing)
        level = None if threshold is None else threshold.level(entry, drawing.drawer.on_patches(patch_map))
        image = DrawableImage(entry.name, entry.size, patch_map, level)
        record = entry.name, look(image, drawing), entry.stamp
        own = {path.relative_to(layout.folder).as_posix(): path for path in files.values()}
        if all(self._drawn.get(file) == record and path.is_file() for file, path in own.items()):
            return None
        try:
            _check_unchanged(entry)
            draw_files(image, files, drawing, self.max_megapixels)
        except ImageError as error:
            return Failure(entry.name, f"it was scored, but could not be drawn: {error}")
        self._record(list(own), record)
        return None

    def _record(self, files: Sequence[str], record: tuple[str, str, Stamp]) -> None:
        name, digest, stamp = record
        with self._recording:
            self._log.append({"files": files, "name": name, "look": digest, "stamp": stamp})
            self._drawn.update(dict.fromkeys(files, record))


def _check_unchanged(entry: Entry) -> None:
    """Check that the file still holds the image that was scored; a missing file is reported by the reader."""
    if file_stamp(entry.name) not in {None, entry.stamp}:
        msg = "the file has changed since. Run the same command again."
        raise ImageError(msg)


def _files(name: str, layout: Layout, threshold: Threshold | None, drawing: Drawing) -> Mapping[str, Path]:
    return {kind: layout.path(kind, name) for kind in drawing.kinds(threshold)}

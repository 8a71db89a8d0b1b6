"""The files of a run: where each lies, and how it is written whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.painting import Scale, common_scale
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.input.geometry import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.output.heatmap import draw_heatmap
from dualclip_lightning.predict.output.journal import Entry, Journal, Log, Stamp, file_stamp
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold, marked
from dualclip_lightning.utilities.files import write_bytes_atomically

COLUMNS = ("path", "score", "decision", "p_value", "threshold", "references", "reference", "heatmap", "height", "width",
           "geometry", "seconds", "notes")  # fmt: skip
SUFFIXES = {"heatmaps": ".png", "maps": ".npy", "masks": ".png"}
"""Folder of each kind, and the suffix that files have there."""
COMPRESSION = 3
"""Level of PNG files: less than half the time of the default, for heatmaps up to a tenth larger."""
LONGEST_NAME = 180
"""Bytes of a file name, to which suffixes are added; file systems allow 255."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn of every image.

    Args:
        heatmaps: pictures of each image and its map (`draw_heatmap`), as PNG.
        maps: raw maps [H, W] at the size of the image, as .npy in single precision.
        masks: anomalous pixels in white, as PNG; needs a threshold. That of a normal image is black.
        scale: scores with no colour and with the full one, "run" to take them from all maps of the run
            (`common_scale`), or None for each map's own range.
        drawer: draws maps as the detector's method does.
    """

    heatmaps: bool = True
    maps: bool = False
    masks: bool = False
    scale: Scale | Literal["run"] | None = "run"
    drawer: Drawer = DEFAULT_DRAWER


class Layout:
    """Where the results of each image lie below the output folder: as the images lie below their common folder.

    A result has the image's name with another suffix. Where images of one folder differ in nothing but their suffix, or
    in upper and lower case, it becomes part of the name: `a_png.png` and `a_jpg.png`.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        names = list(names)
        parents = {str(Path(os.path.abspath(name)).parent) for name in names}  # noqa: PTH100 - links stay as named
        self.root = os.path.commonpath(parents) if parents else os.curdir
        self._shared = _tell_apart([self.relative(name) for name in names])

    def relative(self, name: str) -> Path:
        """An image's path below the images' common folder, with .. where it lies elsewhere."""
        return Path(os.path.relpath(os.path.abspath(name), self.root))  # noqa: PTH100

    def path(self, kind: str, name: str, suffix: str) -> Path:
        """The file of a kind ("heatmaps", "maps", "masks") for an image."""
        relative = self.relative(name)
        stem = self._shared.get(relative, relative.stem)
        return self.folder / kind / relative.parent / f"{_short(stem)}{suffix}"


def _tell_apart(places: Sequence[Path]) -> dict[Path, str]:
    """Names without suffix for those of some paths that would share one with another path."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for place in dict.fromkeys(places):
        groups[place.parent, place.stem.casefold()].append(place)
    shared = {}
    for place in [place for group in groups.values() if len(group) > 1 for place in sorted(group)]:
        stem = f"{place.stem}_{place.suffix[1:]}"
        if (place.parent, stem.casefold()) in groups:  # that of an image, or of another one here
            stem += f"-{sha256(os.fsencode(place.name)).hexdigest()[:16]}"
        groups[place.parent, stem.casefold()] = [place]
        shared[place] = stem
    return shared


def draw_all(
    journal: Journal, names: Sequence[str], layout: Layout, threshold: Threshold | None, drawing: Drawing,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterable[Failure | None]:  # fmt: skip
    """Draw every scored image that is not drawn yet with this threshold and scale, and take away what earlier runs left
    of other images or kinds.

    Yields:
        None for an image that is drawn, a failure where it can no longer be read (its score stays).

    Raises:
        OSError: a result cannot be written.
    """
    if drawing.scale == "run" and drawing.heatmaps:
        drawing = replace(
            drawing, scale=common_scale(drawing.drawer.on_patches(journal.patch_map(name)) for name in names)
        )
    with Log(journal.folder / "drawn.jsonl") as log:
        # By file, which images of different runs may share; the last one drew it.
        drawn: dict[str, tuple[str, str, Stamp]] = {
            file: (r["name"], r["look"], tuple(r["stamp"])) for r in log if "files" in r for file in r["files"]
        }
        current = {path for name in names for path in _files(name, layout, threshold, drawing).values()}
        for path in {layout.folder / file for file in drawn} - current:
            path.unlink(missing_ok=True)
        for name in names:
            entry = journal.entries[name]
            files, patch_map = _files(name, layout, threshold, drawing), journal.patch_map(name)
            level = None if threshold is None else threshold.level(entry, drawing.drawer.on_patches(patch_map))
            look = _look(patch_map, level, drawing)
            own = [path.relative_to(layout.folder).as_posix() for path in files.values()]
            done = all(drawn.get(file) == (name, look, entry.stamp) for file in own)
            if done and all(path.is_file() for path in files.values()):
                yield None
                continue
            try:
                _check_unchanged(entry)
                _draw(entry, patch_map, files, level, drawing, max_megapixels)
            except ImageError as error:
                yield Failure(name, f"it was scored, but could not be drawn: {error}")
                continue
            log.append({"files": own, "name": name, "look": look, "stamp": entry.stamp})
            yield None


def _look(patch_map: npt.NDArray[np.float32], level: float | None, drawing: Drawing) -> str:
    """What a drawing of one state of an image depends on."""
    return sha256(repr((drawing, level)).encode() + patch_map.tobytes()).hexdigest()


def _check_unchanged(entry: Entry) -> None:
    """Refuse to draw a map beside another image than its own; a file that is gone is for the reader to report."""
    if file_stamp(entry.name) not in {None, entry.stamp}:
        msg = "the file has changed since. Run the same command again."
        raise ImageError(msg)


def _files(name: str, layout: Layout, threshold: Threshold | None, drawing: Drawing) -> dict[str, Path]:
    wanted = {
        "heatmaps": drawing.heatmaps,
        "maps": drawing.maps,
        "masks": drawing.masks and threshold is not None,
    }
    return {kind: layout.path(kind, name, suffix) for kind, suffix in SUFFIXES.items() if wanted[kind]}


def _draw(
    entry: Entry, patch_map: npt.NDArray[np.float32], files: dict[str, Path], level: float | None,
    drawing: Drawing, max_megapixels: float,
) -> None:  # fmt: skip
    if "heatmaps" in files:
        pixels = read_picture(entry.name, max_megapixels).pixels
        scale = (0.0, 1.0) if drawing.scale == "run" else drawing.scale
        picture = draw_heatmap(pixels, patch_map, scale, level, drawing.drawer)
        write_bytes_atomically(files["heatmaps"], _png(picture))
    if not files.keys() & {"maps", "masks"}:
        return
    full = drawing.drawer(patch_map, entry.size)
    if "maps" in files:
        buffer = io.BytesIO()
        np.save(buffer, full, allow_pickle=False)
        write_bytes_atomically(files["maps"], buffer.getvalue())
    if "masks" in files:
        write_bytes_atomically(
            files["masks"], _png(Image.fromarray(marked(full, level).astype(np.uint8) * np.uint8(255)))
        )


def write_scores(path: Path, entries: Iterable[Entry], threshold: Threshold | None, layout: Layout) -> None:
    """`scores.csv`, a row an image; bytes of names that are no UTF-8 appear as backslash escapes.

    Of the images it was compared with the row has their number, and the path where it is one. The heatmap's path is
    below the folder of the results; empty where there is none.
    """
    _write_csv(path, COLUMNS, (_row(entry, threshold, layout) for entry in entries))


def _row(entry: Entry, threshold: Threshold | None, layout: Layout) -> tuple[object, ...]:
    decision = Decision() if threshold is None else threshold.decide(entry)
    heatmap = layout.path("heatmaps", entry.name, SUFFIXES["heatmaps"])
    return (
        entry.name, f"{entry.score:.6f}", decision.word,
        "" if decision.p_value is None else f"{decision.p_value:.6f}",
        "" if threshold is None else f"{threshold.score:.6f}",
        len(entry.references), entry.references[0] if len(entry.references) == 1 else "",
        heatmap.relative_to(layout.folder).as_posix() if heatmap.is_file() else "",
        *entry.size, entry.geometry, f"{entry.seconds:.3f}", "; ".join(filter(None, (*entry.notes, decision.reason))),
    )  # fmt: skip


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """`failures.csv`, a row an image that could not be used; none at all if there are none."""
    if failures:
        _write_csv(path, ("path", "reason"), failures)
    else:
        path.unlink(missing_ok=True)


def threshold_facts(threshold: Threshold | None) -> dict[str, Any] | None:
    """A threshold as plain data, without settings and scores, which are stored beside it anyway."""
    stored = {"settings", "scores"}
    return None if threshold is None else {k: v for k, v in asdict(threshold).items() if k not in stored}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()


def _short(name: str) -> str:
    """A file name that leaves room for suffixes, still different from others."""
    content = os.fsencode(name)
    if len(content) <= LONGEST_NAME:
        return name
    head = content[: LONGEST_NAME - 20].decode("utf-8", "ignore")
    return f"{head}-{sha256(content).hexdigest()[:16]}"

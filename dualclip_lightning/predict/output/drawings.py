"""The pictures of a run: heatmaps, raw maps and masks, each drawn once and written atomically."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.painting import Scale, common_scale
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.heatmap import draw_heatmap
from dualclip_lightning.predict.output.journal import Entry, Journal, Stamp, file_stamp
from dualclip_lightning.predict.output.layout import SUFFIXES, Layout
from dualclip_lightning.predict.output.log import Log
from dualclip_lightning.predict.output.regions.region import marked_pixels
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

COMPRESSION = 3
"""Compression level of PNG files; it takes less than half the time of the default, for files up to a tenth larger."""


@dataclass(frozen=True)
class Drawing:
    """Choice of the files that are drawn for every image.

    Args:
        heatmaps: pictures of each image and its map (`draw_heatmap`), as PNG.
        maps: raw maps [H, W] at the size of the image, as .npy in single precision.
        masks: anomalous pixels in white, as PNG; needs a threshold. The mask of a normal image is black.
        scale: scores drawn with no colour and with full colour, "run" to take them from all maps of the run
            (`common_scale`), or None for each map's own range.
        drawer: drawer of the maps, as in the detector's method.
        min_area: number of pixels below which a region is neither outlined nor part of a mask.
    """

    heatmaps: bool = True
    maps: bool = False
    masks: bool = False
    scale: Scale | Literal["run"] | None = "run"
    drawer: Drawer = DEFAULT_DRAWER
    min_area: int = 0


def draw_all(
    journal: Journal, names: Sequence[str], layout: Layout, threshold: Threshold | None, drawing: Drawing,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterable[Failure | None]:  # fmt: skip
    """Draw every scored image that is not yet drawn with this threshold and scale.

    Files of other images or kinds that earlier runs left are removed.

    Yields:
        None for an image that is drawn, a failure for one that can no longer be read (its score is kept).

    Raises:
        OSError: If a result cannot be written.
    """
    if drawing.scale == "run" and drawing.heatmaps:
        drawing = replace(
            drawing, scale=common_scale(drawing.drawer.on_patches(journal.patch_map(name)) for name in names)
        )
    with Log(journal.folder / "drawn.jsonl") as log:
        # By file, since images of different runs may share one; the last entry is the image that drew it.
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
    """Return a digest of all that the drawing of an image depends on, except the state of its file."""
    return sha256(repr((drawing, level)).encode() + patch_map.tobytes()).hexdigest()


def _check_unchanged(entry: Entry) -> None:
    """Check that the file still holds the image that was scored; a missing file is reported by the reader."""
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
        picture = draw_heatmap(pixels, patch_map, scale, level, drawing.drawer, drawing.min_area)
        write_bytes_atomically(files["heatmaps"], _png(picture))
    if not files.keys() & {"maps", "masks"}:
        return
    full = drawing.drawer(patch_map, entry.size)
    if "maps" in files:
        buffer = io.BytesIO()
        np.save(buffer, full, allow_pickle=False)
        write_bytes_atomically(files["maps"], buffer.getvalue())
    if "masks" in files:
        mask = marked_pixels(full, level, drawing.min_area)
        write_bytes_atomically(files["masks"], _png(Image.fromarray(mask.astype(np.uint8) * np.uint8(255))))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=COMPRESSION)
    return buffer.getvalue()

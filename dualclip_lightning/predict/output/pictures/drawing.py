"""The files that are drawn of one image: heatmap, raw map and mask, each written atomically."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.area import turn
from dualclip_lightning.images.painting import Scale
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.predict.limits import HEATMAP_FORMATS
from dualclip_lightning.predict.output.pictures.heatmap import draw_heatmap
from dualclip_lightning.predict.output.regions.region import marked_pixels
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.scoring.thresholds import Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

PatchMap = npt.NDArray[np.float32]
ENCODINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Without subsampling of colour, outlines of one pixel stay sharp.
        "jpeg": {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"},
        # This level takes less than half the time of the default, for files up to a tenth larger.
        "png": {"format": "PNG", "compress_level": 3},
    }
)
"""Arguments of Pillow for each format."""


@dataclass(frozen=True)
class Drawing:
    """Choice of the files that are drawn for every image.

    Args:
        heatmaps: pictures of each image and its map (`draw_heatmap`).
        maps: raw maps [H, W] at the size of the image, as .npy in single precision.
        masks: anomalous pixels in white, as PNG; needs a threshold. The mask of a normal image is black.
        scale: scores drawn with no colour and with full colour, "run" to take them from all maps of the run
            (`common_scale`), or None for each map's own range.
        drawer: drawer of the maps, as in the detector's method.
        min_area: number of pixels below which a region is neither outlined nor part of a mask.
        heatmap_format: "jpeg", or "png", which keeps every value and takes several times as long.
    """

    heatmaps: bool = True
    maps: bool = False
    masks: bool = False
    scale: Scale | Literal["run"] | None = "run"
    drawer: Drawer = DEFAULT_DRAWER
    min_area: int = 0
    heatmap_format: str = HEATMAP_FORMATS[0]

    @property
    def waits_for_the_run(self) -> bool:
        """Whether no image can be drawn until all are scored, because their maps give the scale."""
        return self.heatmaps and self.scale == "run"

    def kinds(self, threshold: Threshold | None) -> list[str]:
        """Return the kinds of files of each image, which are also the names of their folders."""
        wanted = {"heatmaps": self.heatmaps, "maps": self.maps, "masks": self.masks and threshold is not None}
        return [kind for kind, is_wanted in wanted.items() if is_wanted]


class DrawableImage(NamedTuple):
    """An image to be drawn, with its map and the value above which pixels are marked (`Threshold.level`)."""

    name: str
    size: tuple[int, int]
    patch_map: PatchMap
    level: float | None


def look(image: DrawableImage, drawing: Drawing) -> str:
    """Return a digest of all that the drawing of an image depends on, except the state of its file."""
    return sha256(repr((drawing, image.level)).encode() + image.patch_map.tobytes()).hexdigest()


def draw_files(image: DrawableImage, files: Mapping[str, Path], drawing: Drawing, max_megapixels: float) -> None:
    """Draw the files of an image, of which large ones are drawn one at a time.

    Args:
        image: the image.
        files: path of each kind of file.
        drawing: choices that say how they are drawn; the scale is known.
        max_megapixels: limit above which the image is refused.

    Raises:
        ImageError: If the image cannot be read any more.
        OSError: If a file cannot be written.
    """
    with turn(image.size):
        if "heatmaps" in files:
            write_bytes_atomically(files["heatmaps"], _heatmap(image, drawing, max_megapixels))
        if files.keys() & {"maps", "masks"}:
            _write_full_size(image, files, drawing)


def _heatmap(image: DrawableImage, drawing: Drawing, max_megapixels: float) -> bytes:
    pixels = read_picture(image.name, max_megapixels).pixels
    scale = (0.0, 1.0) if drawing.scale == "run" else drawing.scale
    picture = draw_heatmap(pixels, image.patch_map, scale, image.level, drawing.drawer, drawing.min_area)
    return _encoded(picture, drawing.heatmap_format)


def _write_full_size(image: DrawableImage, files: Mapping[str, Path], drawing: Drawing) -> None:
    full = drawing.drawer(image.patch_map, image.size)
    if "maps" in files:
        buffer = io.BytesIO()
        np.save(buffer, full, allow_pickle=False)
        write_bytes_atomically(files["maps"], buffer.getvalue())
    if "masks" in files:
        mask = marked_pixels(full, image.level, drawing.min_area)
        picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
        write_bytes_atomically(files["masks"], _encoded(picture, "png"))


def _encoded(picture: Image.Image, encoding: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **ENCODINGS[encoding])
    return buffer.getvalue()

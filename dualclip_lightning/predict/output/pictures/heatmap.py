"""The heatmap of one image: the image, the same in grey under the colours of its map, and a colour bar."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.painting import (
    BAR,
    FONT,
    LABELS,
    WHITE,
    Bytes,
    Scale,
    check_scale,
    draw_bar,
    draw_contour,
    overlay,
    to_grey,
)
from dualclip_lightning.images.picture import Pixels
from dualclip_lightning.predict.output.regions.region import marked_pixels, shrink_mask
from dualclip_lightning.predict.scoring.drawer import DEFAULT_DRAWER, Drawer

LONGEST = 720
"""Longest side of a panel in pixels, to which larger images are shrunk."""
SHORTEST = 160
"""Length of a panel's shorter side in pixels to which smaller images are enlarged, so that the bar is legible."""
GAP = 8


def draw_heatmap(
    pixels: Pixels,
    patch_map: npt.NDArray[np.float32],
    scale: Scale | None = (0.0, 1.0),
    threshold: float | None = None,
    drawer: Drawer = DEFAULT_DRAWER,
    min_area: int = 0,
) -> Image.Image:
    """Draw the image, the same in grey under the colours of its map, and the colour bar; wide images are stacked.

    Args:
        pixels: [H, W, 3], bytes or single precision in [0, 1].
        patch_map: map [h, w] of the whole image.
        scale: scores drawn with no colour and with full colour, the same for all images that are to be compared
            (`common_scale`); None takes this map's own range.
        threshold: value above which the regions of the image are outlined in both panels (`Threshold.level`); None
            outlines none.
        drawer: drawer of the map at any size.
        min_area: number of pixels of the image below which a region is not outlined (`find_regions`).

    Raises:
        ValueError: If the scale has no extent.
    """
    if scale is None:
        scale = _range(drawer.on_patches(patch_map))
    else:
        check_scale(scale)
    height, width = panel_size(pixels.shape[:2])
    image = shrink(pixels, (height, width))
    values = drawer(patch_map, (height, width))
    drawn = overlay(to_grey(image, (height, width)), values, scale)
    if threshold is not None:
        # The regions are those of the image at its own size, so that none is missing or added in a smaller panel.
        own = values if pixels.shape[:2] == (height, width) else drawer(patch_map, pixels.shape[:2])
        mask = shrink_mask(marked_pixels(own, threshold, min_area), (height, width))
        for panel in (image, drawn):
            draw_contour(panel, mask)
    left, top = (0, height + GAP) if width > height else (width + GAP, 0)
    canvas = Image.new("RGB", (left + width + GAP + BAR + LABELS, top + height), WHITE)
    canvas.paste(Image.fromarray(image), (0, 0))
    canvas.paste(Image.fromarray(drawn), (left, top))
    canvas.paste(draw_bar(height, scale, threshold), (left + width + GAP, top))
    return canvas


def _range(values: npt.NDArray[np.float32]) -> Scale:
    return float(values.min()), float(values.max())


def panel_size(size: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of the panel; the aspect ratio is kept as far as both sides remain visible."""
    factor = min(1.0, LONGEST / max(size))
    factor = min(max(factor, SHORTEST / min(size)), max(factor, LONGEST / max(size)))
    height, width = (max(8, min(LONGEST, round(side * factor))) for side in size)
    return max(height, 4 * FONT), width


def shrink(pixels: Pixels, size: tuple[int, int]) -> Bytes:
    """Return a resized copy of the image as bytes [h, w, 3]."""
    resized = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.array(resized if pixels.dtype == np.uint8 else np.rint(resized.clip(0, 1) * 255), dtype=np.uint8)

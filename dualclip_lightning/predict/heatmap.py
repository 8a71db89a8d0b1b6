"""Maps as pictures that can be compared: one fixed scale, a colour bar, the contour of the threshold."""

from __future__ import annotations

from functools import lru_cache

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dualclip_lightning.images.picture import Pixels
from dualclip_lightning.predict.geometry import DEFAULT_DRAWER, Drawer
from dualclip_lightning.predict.thresholds import marked

COLOURS = "cividis"
"""Perceptually uniform, and the same to colour-blind eyes (Nunez et al., 2018)."""
LONGEST = 720
"""Pixels of a panel's longer side; larger images are shrunk to it, whatever their size."""
SHORTEST = 160
"""Pixels of a panel's shorter side below which small images are enlarged, so that the bar can be read."""
BAR, LABELS, GAP, FONT = 18, 56, 8, 18
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

Bytes = npt.NDArray[np.uint8]
Scale = tuple[float, float]


def draw_heatmap(
    pixels: Pixels,
    patch_map: npt.NDArray[np.float32],
    scale: Scale | None = (0.0, 1.0),
    threshold: float | None = None,
    drawer: Drawer = DEFAULT_DRAWER,
) -> Image.Image:
    """The image, its map in colours, and the colour bar; side by side, or wide images above their maps.

    The map stands beside the image rather than over it: a blend has other colours than the bar explains.

    Args:
        pixels: [H, W, 3], bytes or single precision in [0, 1].
        patch_map: [h, w], of the whole image.
        scale: values of the darkest and the brightest colour, the same for all images that are to be compared; None
            takes this map's own range.
        threshold: value whose contour is drawn in both (`Threshold.level`); None draws none.
        drawer: draws the map at the size of the panel.

    Raises:
        ValueError: a scale without extent.
    """
    low, high = _range(drawer.on_patches(patch_map)) if scale is None else scale
    if scale is not None and not low < high:
        msg = f"Expected the scale as two values, the smaller first, but got {low} and {high}."
        raise ValueError(msg)
    height, width = panel_size(pixels.shape[:2])
    image = shrink(pixels, (height, width))
    values = drawer(patch_map, (height, width))
    drawn = colourise(values, low, high)
    if threshold is not None:
        for panel in (image, drawn):
            _draw_contour(panel, marked(values, threshold))
    left, top = (0, height + GAP) if width > height else (width + GAP, 0)
    canvas = Image.new("RGB", (left + width + GAP + BAR + LABELS, top + height), WHITE)
    canvas.paste(Image.fromarray(image), (0, 0))
    canvas.paste(Image.fromarray(drawn), (left, top))
    canvas.paste(_bar(height, low, high, threshold), (left + width + GAP, top))
    return canvas


def _range(values: npt.NDArray[np.float32]) -> Scale:
    return float(values.min()), float(values.max())


def panel_size(size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width at which an image is shown: its own aspect ratio, as far as that leaves both sides visible."""
    factor = min(1.0, LONGEST / max(size))
    factor = min(max(factor, SHORTEST / min(size)), max(factor, LONGEST / max(size)))
    height, width = (max(8, min(LONGEST, round(side * factor))) for side in size)
    return max(height, 4 * FONT), width


def shrink(pixels: Pixels, size: tuple[int, int]) -> Bytes:
    """The image at another size, as bytes [h, w, 3] of its own."""
    resized = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.array(resized if pixels.dtype == np.uint8 else np.rint(resized.clip(0, 1) * 255), dtype=np.uint8)


def colourise(values: npt.NDArray[np.float32], low: float, high: float) -> Bytes:
    """Colours [..., 3] of values; those outside the scale get its ends."""
    share = (values - low) / max(high - low, 1e-12)
    return _palette()[np.rint(share.clip(0, 1) * 255).astype(np.uint8)]


@lru_cache(maxsize=1)
def _palette() -> Bytes:
    return np.rint(mpl.colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.uint8)


def _draw_contour(panel: Bytes, mask: npt.NDArray[np.bool_]) -> None:
    """A white line on a black one, which shows on any ground; on large panels also at half their size."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    line = max(1, 3 * max(mask.shape) // LONGEST)
    for colour, width in ((BLACK, line + 2), (WHITE, line)):
        cv2.drawContours(panel, found, -1, colour, width, cv2.LINE_AA)


def _bar(height: int, low: float, high: float, threshold: float | None) -> Image.Image:
    """The colours with their values, and a mark at the threshold."""
    bar = Image.new("RGB", (BAR + LABELS, height), WHITE)
    ramp = colourise(np.linspace(high, low, height, dtype=np.float32), low, high)
    bar.paste(Image.fromarray(np.repeat(ramp[:, None], BAR, axis=1)), (0, 0))
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(size=FONT)
    for share in (0.0, 0.5, 1.0):
        top = (1 - share) * (height - FONT - 4)
        draw.text((BAR + 4, top), f"{low + share * (high - low):.2f}", fill=BLACK, font=font)
    if threshold is not None and low <= threshold <= high and high > low:
        y = round((high - threshold) / (high - low) * (height - 1))
        draw.line([(0, y), (BAR + 3, y)], fill=BLACK, width=5)
        draw.line([(0, y), (BAR + 3, y)], fill=WHITE, width=1)
    return bar

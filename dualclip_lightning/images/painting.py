"""Scores in colour over a grey image: the colour map, blending, scale, contours and colour bars of all pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from PIL import Image, ImageDraw, ImageFont

from dualclip_lightning.images.picture import Pixels

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Scale = tuple[float, float]
"""Scores at the lower end (no colour) and at the upper end (full colour)."""

COLOURS = "plasma"
"""Colour map: perceptually uniform, suitable for colour-blind viewers, and never grey, so visible over a grey image."""
OPACITY = 0.8
"""Opacity of the colour at the upper end of the scale; the image stays visible below it."""
MIDDLE_GREY = 128
"""Background of a colour bar."""
QUANTILES = (0.5, 0.999)
"""Quantiles of all scores of a run at the ends of its scale: half of them show no colour, few the last colour."""
BINS = 1 << 16
"""Number of histogram bins for scores in [0, 1], so that quantiles take the same memory for every run."""
NARROWEST = 0.01
"""Minimum extent of a run's scale, below which colours would show noise."""
BAR, LABELS, FONT = 18, 60, 18
"""Width of a colour bar and of its numbers, and height of the numbers, in pixels."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def check_scale(scale: Scale) -> None:
    """Check that a scale has an extent.

    Raises:
        ValueError: the first value is not the smaller one.
    """
    low, high = scale
    if not low < high:
        msg = f"Expected the scale as two values, the smaller first, but got {low} and {high}."
        raise ValueError(msg)


def common_scale(maps: Iterable[Floats]) -> Scale:
    """Return a common scale for maps: from the median of all their scores to their 99.9 % quantile.

    Args:
        maps: maps of any shape, with scores in [0, 1]; read once, one at a time.
    """
    counts = np.zeros(BINS + 1, np.int64)
    for scores in maps:
        steps = np.rint(np.clip(scores, 0, 1) * BINS).astype(np.int64)
        counts += np.bincount(steps.ravel(), minlength=BINS + 1)
    reached = np.cumsum(counts)
    if reached[-1] == 0:
        return 0.0, 1.0
    low, high = (int(np.searchsorted(reached, share * reached[-1])) / BINS for share in QUANTILES)
    return low, max(high, low + NARROWEST)


def to_grey(pixels: Pixels, size: tuple[int, ...]) -> Bytes:
    """Convert an image [H, W, 3], bytes or single precision in [0, 1], to grey bytes at another size [h, w]."""
    small = cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    if small.dtype != np.uint8:
        small = np.rint(small.clip(0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def overlay(grey: Bytes | int, scores: Floats, scale: Scale) -> Bytes:
    """Draw scores in colour over a grey image; the higher a score is on the scale, the more opaque its colour.

    Args:
        grey: grey image [h, w], or one value for a plain background.
        scores: scores [h, w]; those outside the scale are clipped to its ends.
        scale: scores with no colour and with the full colour.

    Returns:
        Picture [h, w, 3].
    """
    low, high = scale
    steps = np.rint(((scores - low) / max(high - low, 1e-12)).clip(0, 1) * 255).astype(np.intp)
    return _blended().take(steps * 256 + grey, axis=0)


@lru_cache(maxsize=1)
def _blended() -> Bytes:
    """Return the colours of all 256 steps over all 256 greys [256 * 256, 3], the greys of the first step first.

    A picture takes them from here, which is several times as fast as blending each of its pixels.
    """
    opacity = np.linspace(0, OPACITY, 256, dtype=np.float32)[:, None, None]
    colours = mpl.colormaps[COLOURS](np.arange(256))[:, None, :3].astype(np.float32) * 255
    greys = np.arange(256, dtype=np.float32)[None, :, None]
    return np.rint(colours * opacity + greys * (1 - opacity)).astype(np.uint8).reshape(-1, 3)


def draw_contour(panel: Bytes, mask: npt.NDArray[np.bool_]) -> None:
    """Outline a mask [h, w] in a picture [h, w, 3], in place: a white pixel inside its edge, a black pixel outside."""
    inside = mask.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # The area beyond the picture counts as outside, so that a mask that fills it is outlined, too.
    core = cv2.erode(inside, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    panel[(cv2.dilate(inside, cross) > inside)] = BLACK
    panel[inside > core] = WHITE


@lru_cache(maxsize=8)
def draw_bar(height: int, scale: Scale, threshold: float | None = None) -> Image.Image:
    """Draw the colours over middle grey with numbers beside them, and a mark at a threshold that lies on the scale.

    Images of one size in a run have the same bar, so the latest are kept; the picture must not be modified.
    """
    low, high = scale
    bar = Image.new("RGB", (BAR + LABELS, height), WHITE)
    ramp = overlay(MIDDLE_GREY, np.linspace(high, low, height, dtype=np.float32), scale)
    bar.paste(Image.fromarray(np.repeat(ramp[:, None], BAR, axis=1)), (0, 0))
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(size=FONT)
    # As many digits as are needed to distinguish the numbers.
    digits = min(4, max(2, 1 - math.floor(math.log10(high - low)))) if high > low else 2
    for share in (0.0, 0.5, 1.0):
        top = (1 - share) * (height - FONT - 4)
        draw.text((BAR + 4, top), f"{low + share * (high - low):.{digits}f}", fill=BLACK, font=font)
    if threshold is not None and low <= threshold <= high and high > low:
        y = round((high - threshold) / (high - low) * (height - 1))
        draw.line([(0, y), (BAR + 3, y)], fill=BLACK, width=5)
        draw.line([(0, y), (BAR + 3, y)], fill=WHITE, width=1)
    return bar


def mappable(scale: Scale) -> ScalarMappable:
    """Return the same colours over middle grey for the colour bar of a matplotlib figure."""
    ramp = overlay(MIDDLE_GREY, np.linspace(0, 1, 256, dtype=np.float32), (0.0, 1.0)) / 255
    return ScalarMappable(Normalize(*scale), ListedColormap(ramp))

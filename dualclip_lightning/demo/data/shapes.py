"""Random shapes on images, from which defects are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""RGB bytes [H, W, 3]."""
Mask = npt.NDArray[np.bool_]
"""Pixels [H, W]."""


def blob(shape: tuple[int, ...], rng: np.random.Generator, smallest: float = 0.05, largest: float = 0.16) -> Mask:
    """Draw an irregular round region, whose mean radius is between two shares of the image's shorter side."""
    height, width = shape[:2]
    side = min(height, width)
    radius = rng.uniform(smallest, largest) * side
    y0, x0 = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - y0, x - x0)
    waves = sum(rng.uniform(0, 0.25) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3, 5))
    stretch = rng.uniform(0.6, 1.6)
    return np.hypot((y - y0) * stretch, (x - x0) / stretch) < radius * (1 + waves)


def wandering_line(
    shape: tuple[int, ...], rng: np.random.Generator, bend: float, share: tuple[float, float]
) -> npt.NDArray:
    """Draw points [n, 2] (x, y) of a wandering line whose length is a share of the shorter side."""
    height, width = shape[:2]
    length = int(rng.uniform(*share) * min(height, width))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, length))
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    start = rng.uniform([0.2 * width, 0.2 * height], [0.8 * width, 0.8 * height])
    return start + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2


def draw_lines(shape: tuple[int, ...], lines: list[npt.NDArray], thickness: int) -> Mask:
    """Return the pixels of lines through points [n, 2] (x, y), `thickness` pixels wide."""
    canvas = np.zeros(shape[:2], np.uint8)
    cv2.polylines(canvas, [np.rint(line).astype(np.int32) for line in lines], isClosed=False, color=1,
                  thickness=thickness)  # fmt: skip
    return canvas > 0


def shifted(image: Image, region: Mask, shift: npt.NDArray | float) -> npt.NDArray:
    """Shift the brightness of a region of the image [H, W, 3] by a number of levels."""
    return np.where(region[..., None], np.clip(image + shift, 0, 255), image)

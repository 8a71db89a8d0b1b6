"""What faults are made with: noise, soft edges, blends, lines and strokes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.data.defects import (
    Image,
    Mask,
    wandering_line,
)

Drawn = tuple[npt.NDArray, Mask]


def noise(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> npt.NDArray:
    """Smooth noise [H, W] of about unit deviation with so many cells a side."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def soft(region: Mask, sigma: float) -> npt.NDArray:
    """A region's weight [H, W, 1] in [0, 1] with soft edges."""
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma)[..., None]


def blend(image: Image, colour: npt.NDArray, weight: npt.NDArray) -> Drawn:
    """An image [H, W, 3] with a colour laid over it by weight [H, W, 1], and where that can be seen."""
    return image * (1 - weight) + colour * weight, weight[..., 0] > 0.05  # noqa: PLR2004


def line(image: Image, rng: np.random.Generator, bend: float) -> npt.NDArray:
    """Points [n, 2] of a line across much of the image."""
    return wandering_line(image.shape, rng, bend, (0.4, 1.0))


def stroke(image: Image, points: npt.NDArray, thickness: int) -> Mask:
    """The pixels [H, W] of a line through points [n, 2]."""
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.polylines(canvas, [np.rint(points * 8).astype(np.int32)], isClosed=False, color=255, thickness=thickness,
                  lineType=cv2.LINE_AA, shift=3)  # fmt: skip
    return canvas > 100  # noqa: PLR2004

"""Tools for drawing faults: noise, soft edges, blends, lines and strokes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image, Mask, wandering_line

Drawn = tuple[npt.NDArray, Mask]


def noise(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> npt.NDArray:
    """Draw smooth noise [H, W] of approximately unit standard deviation, with `cells` cells per side."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def soft(region: Mask, sigma: float) -> npt.NDArray:
    """Return the weight [H, W, 1] in [0, 1] of a region with soft edges."""
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma)[..., None]


def blend(image: Image, colour: npt.NDArray, weight: npt.NDArray) -> Drawn:
    """Blend a colour into an image [H, W, 3] by weight [H, W, 1]; also return the region where it is visible."""
    return image * (1 - weight) + colour * weight, weight[..., 0] > 0.05  # noqa: PLR2004


def line(image: Image, rng: np.random.Generator, bend: float) -> npt.NDArray:
    """Draw the points [n, 2] of a line across much of the image."""
    return wandering_line(image.shape, rng, bend, (0.4, 1.0))


def stroke(image: Image, points: npt.NDArray, thickness: int) -> Mask:
    """Return the pixels [H, W] of a line through points [n, 2]."""
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.polylines(canvas, [np.rint(points * 8).astype(np.int32)], isClosed=False, color=255, thickness=thickness,
                  lineType=cv2.LINE_AA, shift=3)  # fmt: skip
    return canvas > 100  # noqa: PLR2004

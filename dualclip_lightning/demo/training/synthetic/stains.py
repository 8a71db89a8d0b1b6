"""Surface faults that spread over a region."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image, blob, shifted
from dualclip_lightning.demo.training.synthetic.brushes import Drawn, blend, noise, soft


def pits(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a cluster of small dark pits with bright edges, as caused by surface fatigue."""
    del other
    where = blob(image.shape, rng, 0.08, 0.25)
    candidates = np.argwhere(where)
    canvas = np.zeros(image.shape[:2], np.uint8)
    for y, x in candidates[rng.integers(0, len(candidates), rng.integers(4, 30))]:
        axes = rng.integers(1, max(2, min(image.shape[:2]) // 24) + 1, 2).tolist()
        cv2.ellipse(canvas, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    region = canvas > 0
    dark = np.where(region[..., None], image * rng.uniform(0.1, 0.55), image)
    rim = (cv2.dilate(canvas, np.ones((3, 3), np.uint8)) > 0) & ~region
    lit = np.clip(dark * rng.uniform(1.0, 1.5), 0, 255)
    return np.where(rim[..., None], lit, dark), region | rim


def corrosion(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a ragged patch of rust, mould or oxide with holes in it."""
    del other
    where = soft(blob(image.shape, rng, 0.08, 0.22), max(1.0, 0.02 * len(image)))
    ragged = where[..., 0] + 0.25 * noise(image.shape, rng, int(rng.integers(6, 24))) > 0.5  # noqa: PLR2004
    tone = rng.uniform([90, 40, 10], [190, 120, 90]) if rng.random() < 0.6 else rng.uniform(20, 235, 3)  # noqa: PLR2004
    grain = tone + 25 * noise(image.shape, rng, 32)[..., None]
    return blend(image, np.clip(grain, 0, 255), soft(ragged, 0.8) * rng.uniform(0.4, 0.95))


def smear(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Blur a region along one direction."""
    del other
    length = int(rng.integers(9, 25)) | 1
    kernel: npt.NDArray = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), float(rng.uniform(0, 180)), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return blend(image, cv2.filter2D(image, -1, kernel / kernel.sum()), soft(blob(image.shape, rng, 0.1, 0.25), 1.0))


def burn(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a dark, bleached or coloured spot that fades out."""
    del other
    weight = soft(blob(image.shape, rng, 0.06, 0.2), rng.uniform(0.01, 0.06) * len(image))
    tone = rng.choice([rng.uniform(0, 60, 3), rng.uniform(190, 255, 3), rng.uniform(0, 255, 3)])
    return blend(image, tone, weight * rng.uniform(0.35, 0.9))


def bubble(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a blister that is bright on the side of the light and dark on the other."""
    del other
    region = blob(image.shape, rng, 0.05, 0.16)
    height = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 0.02 * len(image) + 1)
    light = rng.uniform(0, 2 * np.pi)
    slope = np.cos(light) * cv2.Sobel(height, cv2.CV_32F, 1, 0) + np.sin(light) * cv2.Sobel(height, cv2.CV_32F, 0, 1)
    slope = slope / (np.abs(slope).max() + 1e-6)
    shade = image + slope[..., None] * rng.uniform(40, 120)
    return np.clip(shade, 0, 255), np.abs(slope) > 0.1  # noqa: PLR2004


def faded(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Reduce the contrast or brightness of a region."""
    del other
    weight = soft(blob(image.shape, rng, 0.08, 0.25), rng.uniform(0.8, 4))
    flat = image.mean(axis=(0, 1)) * rng.uniform(0.6, 1.4)
    return blend(image, np.clip(flat, 0, 255), weight * rng.uniform(0.5, 0.9))


def dust(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw specks scattered over a region, brighter or darker than the surface."""
    del other
    where = noise(image.shape, rng, 5) > rng.uniform(0.3, 1.2)
    points = (rng.random(image.shape[:2]) < rng.uniform(0.01, 0.06)) & where
    region = cv2.dilate(points.astype(np.uint8), np.ones((int(rng.integers(2, 4)),) * 2, np.uint8)) > 0
    return shifted(image, region, rng.choice([-1, 1]) * rng.uniform(50, 140)), region


def patch(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw another material that shows through where smooth noise is high."""
    field = noise(image.shape, rng, int(rng.integers(2, 7)))
    ragged = field > np.quantile(field, rng.uniform(0.85, 0.97))
    return blend(image, other, soft(ragged, 0.7) * rng.uniform(0.4, 1.0))

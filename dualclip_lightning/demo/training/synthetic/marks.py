"""Faults with an outline: lines, cuts, rings, and pieces that are missing or in the wrong place."""

from __future__ import annotations

import cv2
import numpy as np

from dualclip_lightning.demo.data.shapes import Image, blob, shifted
from dualclip_lightning.demo.training.synthetic.brushes import Drawn, line, soft, stroke


def fibre(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw one to three hairs or threads lying on the surface."""
    del other
    region = np.zeros(image.shape[:2], bool)
    for _ in range(rng.integers(1, 4)):
        region |= stroke(image, line(image, rng, rng.uniform(0.05, 0.25)), int(rng.integers(1, 4)))
    return np.where(region[..., None], rng.uniform(0, 255, 3), image), region


def fold(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a crease: a bright line beside a dark one."""
    del other
    points, width = line(image, rng, 0.02), int(rng.integers(1, 5))
    shift = rng.uniform(-1.5, 1.5, 2) * width
    strength = rng.uniform(30, 90)
    bright, dark = soft(stroke(image, points, width), 0.8), soft(stroke(image, points + shift, width), 0.8)
    change = strength * (bright - dark)
    return np.clip(image + change, 0, 255), np.abs(change[..., 0]) > 10  # noqa: PLR2004


def scrape(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a band of fine parallel scratches."""
    del other
    points, region = line(image, rng, 0.01), np.zeros(image.shape[:2], bool)
    across = (points[-1] - points[0])[::-1] * [1, -1] / (np.linalg.norm(points[-1] - points[0]) + 1e-6)
    for place in np.cumsum(rng.uniform(2, 5, rng.integers(3, 9))):
        begin, end = sorted(rng.integers(0, len(points), 2))
        region |= stroke(image, points[begin : end + 2] + place * across, 1)
    return shifted(image, region, rng.choice([-1, 1]) * rng.uniform(35, 110)), region


def cut(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Shift the pattern of a strip along its length, as after a slip or a bad seam."""
    del other
    height = image.shape[0]
    rows = int(rng.uniform(0.06, 0.3) * height)
    top, shift = int(rng.integers(0, height - rows)), int(rng.integers(4, max(5, height // 6)))
    drawn, region = image.copy(), np.zeros(image.shape[:2], bool)
    drawn[top : top + rows] = np.roll(image[top : top + rows], shift, 1)
    begin, end = sorted(rng.integers(0, image.shape[1], 2))
    region[top : top + rows, begin : max(end, begin + height // 4)] = True
    if rng.random() < 0.5:  # noqa: PLR2004
        return np.where(region[..., None], drawn, image), region
    turned = np.swapaxes(image, 0, 1)
    moved = np.swapaxes(np.where(region[..., None], np.roll(turned, shift, 1), turned), 0, 1)
    return moved, region.T


def moved(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a rotated piece of the image in a place where it does not belong."""
    del other
    region = blob(image.shape, rng, 0.06, 0.2)
    turned = np.rot90(image, int(rng.integers(1, 4))) if image.shape[0] == image.shape[1] else image[::-1, ::-1]
    shift = tuple(rng.integers(len(image) // 5, 4 * len(image) // 5, 2))
    return np.where(region[..., None], np.roll(turned, shift, (0, 1)), image), region


def ring(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw the mark of a dried drop, with a rim that is darker or brighter than its inside."""
    del other
    region = blob(image.shape, rng, 0.06, 0.2).astype(np.uint8)
    rim = cv2.morphologyEx(region, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    sign = rng.choice([-1, 1])
    change = sign * (soft(rim, 1.0) * rng.uniform(50, 120) + soft(region > 0, 1.5) * rng.uniform(5, 30))
    return np.clip(image + change, 0, 255), np.abs(change[..., 0]) > 8  # noqa: PLR2004


def chip(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a broken-off corner or splinter as a polygon in one tone or of another material."""
    side = min(image.shape[:2])
    centre = rng.uniform(0.1, 0.9, 2) * image.shape[1::-1]
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
    radius = rng.uniform(0.05, 0.18) * side * rng.uniform(0.5, 1.2, len(angles))
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    fill = other if rng.random() < 0.3 else image[tuple(rng.integers(0, image.shape[:2]))] * rng.uniform(0.3, 1.5)  # noqa: PLR2004
    return np.where(canvas[..., None] > 0, np.clip(fill, 0, 255), image), canvas > 0


def dead(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Draw a rectangle that is darker or brighter than the rest, like a dead cell."""
    del other
    height, width = image.shape[:2]
    size = (rng.uniform(0.06, 0.35, 2) * (height, width)).astype(int) + 2
    top, left = (int(rng.integers(0, length - part)) for length, part in zip((height, width), size, strict=True))
    region = np.zeros((height, width), bool)
    region[top : top + size[0], left : left + size[1]] = True
    factor = rng.uniform(0.2, 0.75) if rng.random() < 0.7 else rng.uniform(1.3, 1.8)  # noqa: PLR2004
    return np.clip(np.where(region[..., None], image * factor, image), 0, 255), region

"""Kinds of defects that only training draws, beside those of `dualclip_lightning.data.defects`.

Every kind takes an RGB image [H, W, 3] of bytes, a generator and an image of another material, and gives what is drawn
[H, W, 3] and the region [H, W] it may have changed; `add_fault` makes the exact mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.data.defects import (
    DEFECTS,
    Defective,
    DefectMaker,
    Image,
    Mask,
    blob,
    shifted,
    visible_defect,
    wandering_line,
)

Drawn = tuple[npt.NDArray, Mask]
SMALLEST = 96
"""Sides in pixels of the smallest part of an image that a fault is drawn into."""


def add_fault(image: Image, kind: str, rng: np.random.Generator, other: Image) -> Defective:
    """Draw a fault of a kind of `FAULTS` somewhere, at a random scale: it fills a square part of the image.

    Args:
        image: RGB bytes [H, W, 3].
        kind: name of the fault.
        rng: decides place, scale, shape and strength.
        other: RGB bytes [H, W, 3] of another material, for foreign pieces.

    Raises:
        ValueError: it cannot be seen on this image.
    """
    side = min(image.shape[:2])
    part = int(np.exp(rng.uniform(np.log(min(SMALLEST, side)), np.log(side))))
    top, left = (int(rng.integers(0, length - part + 1)) for length in image.shape[:2])
    window = np.s_[top : top + part, left : left + part]
    drawn = visible_defect(image[window], FAULTS[kind], rng, other[window])
    if drawn is None:
        msg = f"A {kind} cannot be seen on this image."
        raise ValueError(msg)
    whole, mask = image.copy(), np.zeros(image.shape[:2], bool)
    whole[window], mask[window] = drawn.image, drawn.mask
    return Defective(whole, mask)


def noise(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> npt.NDArray:
    """Smooth noise [H, W] of about unit deviation with so many cells a side."""
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def soft(region: Mask, sigma: float) -> npt.NDArray:
    """A region's weight [H, W, 1] in [0, 1] with soft edges."""
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma)[..., None]


def _mix(image: Image, colour: npt.NDArray, weight: npt.NDArray) -> Drawn:
    return image * (1 - weight) + colour * weight, weight[..., 0] > 0.05  # noqa: PLR2004


def _line(image: Image, rng: np.random.Generator, bend: float) -> npt.NDArray:
    """Points [n, 2] of a line across much of the image."""
    return wandering_line(image.shape, rng, bend, (0.4, 1.0))


def _stroke(image: Image, points: npt.NDArray, thickness: int) -> Mask:
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.polylines(canvas, [np.rint(points * 8).astype(np.int32)], isClosed=False, color=255, thickness=thickness,
                  lineType=cv2.LINE_AA, shift=3)  # fmt: skip
    return canvas > 100  # noqa: PLR2004


def pits(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A cluster of small dark pits with bright edges, as of surface fatigue."""
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
    """A ragged patch of rust, mould or oxide with holes in it."""
    del other
    where = soft(blob(image.shape, rng, 0.08, 0.22), max(1.0, 0.02 * len(image)))
    ragged = where[..., 0] + 0.25 * noise(image.shape, rng, int(rng.integers(6, 24))) > 0.5  # noqa: PLR2004
    tone = rng.uniform([90, 40, 10], [190, 120, 90]) if rng.random() < 0.6 else rng.uniform(20, 235, 3)  # noqa: PLR2004
    grain = tone + 25 * noise(image.shape, rng, 32)[..., None]
    return _mix(image, np.clip(grain, 0, 255), soft(ragged, 0.8) * rng.uniform(0.4, 0.95))


def smear(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A region blurred along one direction."""
    del other
    length = int(rng.integers(9, 25)) | 1
    kernel: npt.NDArray = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), float(rng.uniform(0, 180)), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return _mix(image, cv2.filter2D(image, -1, kernel / kernel.sum()), soft(blob(image.shape, rng, 0.1, 0.25), 1.0))


def burn(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A dark, bleached or coloured spot that fades out."""
    del other
    weight = soft(blob(image.shape, rng, 0.06, 0.2), rng.uniform(0.01, 0.06) * len(image))
    tone = rng.choice([rng.uniform(0, 60, 3), rng.uniform(190, 255, 3), rng.uniform(0, 255, 3)])
    return _mix(image, tone, weight * rng.uniform(0.35, 0.9))


def bubble(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A blister: bright on the side of the light, dark on the other."""
    del other
    region = blob(image.shape, rng, 0.05, 0.16)
    height = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 0.02 * len(image) + 1)
    light = rng.uniform(0, 2 * np.pi)
    slope = np.cos(light) * cv2.Sobel(height, cv2.CV_32F, 1, 0) + np.sin(light) * cv2.Sobel(height, cv2.CV_32F, 0, 1)
    slope = slope / (np.abs(slope).max() + 1e-6)
    shade = image + slope[..., None] * rng.uniform(40, 120)
    return np.clip(shade, 0, 255), np.abs(slope) > 0.1  # noqa: PLR2004


def fibre(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """One to three hairs or threads lying on the surface."""
    del other
    region = np.zeros(image.shape[:2], bool)
    for _ in range(rng.integers(1, 4)):
        region |= _stroke(image, _line(image, rng, rng.uniform(0.05, 0.25)), int(rng.integers(1, 4)))
    return np.where(region[..., None], rng.uniform(0, 255, 3), image), region


def fold(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A crease: a bright line beside a dark one."""
    del other
    points, width = _line(image, rng, 0.02), int(rng.integers(1, 5))
    shift = rng.uniform(-1.5, 1.5, 2) * width
    strength = rng.uniform(30, 90)
    bright, dark = soft(_stroke(image, points, width), 0.8), soft(_stroke(image, points + shift, width), 0.8)
    change = strength * (bright - dark)
    return np.clip(image + change, 0, 255), np.abs(change[..., 0]) > 10  # noqa: PLR2004


def scrape(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A band of fine parallel scratches."""
    del other
    points, region = _line(image, rng, 0.01), np.zeros(image.shape[:2], bool)
    across = (points[-1] - points[0])[::-1] * [1, -1] / (np.linalg.norm(points[-1] - points[0]) + 1e-6)
    for place in np.cumsum(rng.uniform(2, 5, rng.integers(3, 9))):
        begin, end = sorted(rng.integers(0, len(points), 2))
        region |= _stroke(image, points[begin : end + 2] + place * across, 1)
    return shifted(image, region, rng.choice([-1, 1]) * rng.uniform(35, 110)), region


def cut(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A strip whose pattern is shifted along itself, as after a slip or a bad seam."""
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
    """A piece of the image itself at a place where it does not belong, turned."""
    del other
    region = blob(image.shape, rng, 0.06, 0.2)
    turned = np.rot90(image, int(rng.integers(1, 4))) if image.shape[0] == image.shape[1] else image[::-1, ::-1]
    shift = tuple(rng.integers(len(image) // 5, 4 * len(image) // 5, 2))
    return np.where(region[..., None], np.roll(turned, shift, (0, 1)), image), region


def ring(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """The mark of a dried drop: a rim darker or brighter than its inside."""
    del other
    region = blob(image.shape, rng, 0.06, 0.2).astype(np.uint8)
    rim = cv2.morphologyEx(region, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    sign = rng.choice([-1, 1])
    change = sign * (soft(rim, 1.0) * rng.uniform(50, 120) + soft(region > 0, 1.5) * rng.uniform(5, 30))
    return np.clip(image + change, 0, 255), np.abs(change[..., 0]) > 8  # noqa: PLR2004


def faded(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A region that lost its contrast or brightness."""
    del other
    weight = soft(blob(image.shape, rng, 0.08, 0.25), rng.uniform(0.8, 4))
    flat = image.mean(axis=(0, 1)) * rng.uniform(0.6, 1.4)
    return _mix(image, np.clip(flat, 0, 255), weight * rng.uniform(0.5, 0.9))


def chip(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A broken-off corner or splinter: a polygon in one tone, or of another material."""
    side = min(image.shape[:2])
    centre = rng.uniform(0.1, 0.9, 2) * image.shape[1::-1]
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
    radius = rng.uniform(0.05, 0.18) * side * rng.uniform(0.5, 1.2, len(angles))
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    canvas = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    fill = other if rng.random() < 0.3 else image[tuple(rng.integers(0, image.shape[:2]))] * rng.uniform(0.3, 1.5)  # noqa: PLR2004
    return np.where(canvas[..., None] > 0, np.clip(fill, 0, 255), image), canvas > 0


def dust(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Specks strewn over a region, brighter or darker than what they lie on."""
    del other
    where = noise(image.shape, rng, 5) > rng.uniform(0.3, 1.2)
    points = (rng.random(image.shape[:2]) < rng.uniform(0.01, 0.06)) & where
    region = cv2.dilate(points.astype(np.uint8), np.ones((int(rng.integers(2, 4)),) * 2, np.uint8)) > 0
    return shifted(image, region, rng.choice([-1, 1]) * rng.uniform(50, 140)), region


def dead(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """A rectangle that is darker or brighter than the rest, as of a dead cell."""
    del other
    height, width = image.shape[:2]
    size = (rng.uniform(0.06, 0.35, 2) * (height, width)).astype(int) + 2
    top, left = (int(rng.integers(0, length - part)) for length, part in zip((height, width), size, strict=True))
    region = np.zeros((height, width), bool)
    region[top : top + size[0], left : left + size[1]] = True
    factor = rng.uniform(0.2, 0.75) if rng.random() < 0.7 else rng.uniform(1.3, 1.8)  # noqa: PLR2004
    return np.clip(np.where(region[..., None], image * factor, image), 0, 255), region


def patch(image: Image, rng: np.random.Generator, other: Image) -> Drawn:
    """Another material showing through where smooth noise is high."""
    field = noise(image.shape, rng, int(rng.integers(2, 7)))
    ragged = field > np.quantile(field, rng.uniform(0.85, 0.97))
    return _mix(image, other, soft(ragged, 0.7) * rng.uniform(0.4, 1.0))


OWN = (pits, corrosion, smear, burn, bubble, fibre, fold, scrape, cut, moved, ring, faded, chip, dust, dead, patch)
FAULTS: Mapping[str, DefectMaker] = {**DEFECTS, **{kind.__name__: kind for kind in OWN}}
"""All kinds of defects by name: those of the demo's data and those of training."""

"""Synthetic defects with exact masks, for the demo's data and for training its stand-in model.

Every kind takes an RGB image [H, W, 3] of bytes and a numpy generator, and returns the image with the defect and the
mask [H, W] of its pixels. Outside the mask the image is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image, Mask, blob, draw_lines, shifted, wandering_line

DefectMaker = Callable[[Image, np.random.Generator, Image], tuple[npt.NDArray, Mask]]
"""A kind of defect: a function that returns the drawn image and the region that it may have changed."""

VISIBLE = 12
"""Smallest change of one channel of a pixel in a mask, in levels of 255."""
MIN_PIXELS = 24
ATTEMPTS = 25


class Defective(NamedTuple):
    """An image with one defect."""

    image: Image
    mask: Mask


def add_defect(image: Image, kind: str, rng: np.random.Generator, foreign: Image | None = None) -> Defective:
    """Draw one defect of a kind of `DEFECTS`.

    Args:
        image: RGB bytes [H, W, 3], with sides of at least 32 pixels.
        kind: name of the defect.
        rng: generator for shape, position and strength.
        foreign: image of the material of a foreign piece, of the same size; None uses the image upside down.

    Raises:
        ValueError: the kind is unknown, or is invisible on the image (a distortion of a plain colour).
    """
    if kind not in DEFECTS:
        msg = f"Unknown defect '{kind}'. Expected one of {', '.join(DEFECTS)}."
        raise ValueError(msg)
    other = image[::-1, ::-1] if foreign is None else foreign
    drawn = visible_defect(image, DEFECTS[kind], rng, other)
    if drawn is None:
        msg = f"A {kind} cannot be seen on this image; it may be of one plain colour. Choose another kind of defect."
        raise ValueError(msg)
    return drawn


def visible_defect(image: Image, make: DefectMaker, rng: np.random.Generator, other: Image) -> Defective | None:
    """Draw a defect until it is visible, or return None after some attempts; arguments as in `add_defect`."""
    for _ in range(ATTEMPTS):
        drawn, region = make(image, rng, other)
        mask = _changed(image, drawn, region)
        if mask.sum() >= MIN_PIXELS:
            return Defective(np.where(mask[..., None], drawn, image).astype(np.uint8), mask)
    return None


def _changed(image: Image, drawn: npt.NDArray, region: Mask) -> Mask:
    """Return the visibly changed pixels of a region, with gaps of a pixel or two between them filled."""
    difference = np.abs(drawn.astype(np.int16) - image.astype(np.int16)).max(axis=-1) >= VISIBLE
    closed = cv2.morphologyEx((difference & region).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return (closed > 0) & region


def _contrast(image: Image, region: Mask, rng: np.random.Generator) -> npt.NDArray:
    """Draw a shift in levels away from a region's own brightness: dark regions become brighter, bright ones darker."""
    mean = image[region].mean() if region.any() else 128.0
    sign = 1 if mean < rng.uniform(90, 165) else -1
    return sign * rng.uniform(45, 110) * rng.uniform(0.8, 1.0, 3)


def scratch(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw one to three nearly straight thin lines."""
    del other
    lines = [wandering_line(image.shape, rng, 0.02, (0.3, 0.8)) for _ in range(rng.integers(1, 4))]
    region = draw_lines(image.shape, lines, int(rng.integers(1, 4)))
    return shifted(image, region, _contrast(image, region, rng)), region


def crack(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a jagged dark line with branches."""
    del other
    trunk = wandering_line(image.shape, rng, 0.35, (0.5, 1.0))
    branches = []
    for start in rng.integers(0, len(trunk), rng.integers(1, 4)):
        branch = wandering_line(image.shape, rng, 0.35, (0.12, 0.3))
        branches.append(branch - branch[0] + trunk[start])
    region = draw_lines(image.shape, [trunk, *branches], int(rng.integers(1, 4)))
    return np.where(region[..., None], image * rng.uniform(0.05, 0.4), image), region


def stain(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a tinted spot with a soft edge."""
    del other
    region = blob(image.shape, rng)
    soft = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1.5)[..., None]
    tint = rng.uniform(0, 255, 3)
    strength = rng.uniform(0.35, 0.75) * soft
    return image * (1 - strength) + tint * strength, soft[..., 0] > 0.1  # noqa: PLR2004


def hole(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a nearly black region with a bright rim on one side, as if lit from an angle."""
    del other
    region = blob(image.shape, rng, 0.03, 0.1)
    rim = region & ~np.roll(region, tuple(rng.integers(-2, 3, 2)), (0, 1))
    dark = np.where(region[..., None], image * rng.uniform(0.0, 0.25), image)
    return np.where(rim[..., None], np.clip(image * 1.5 + 30, 0, 255), dark), region


def missing(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Replace the texture of a region by one flat colour close to the image's own, with faint noise."""
    del other
    region = blob(image.shape, rng, 0.07, 0.18)
    flat = image.mean(axis=(0, 1)) + rng.normal(0, 25, 3) + rng.normal(0, 3, (*image.shape[:2], 1))
    return np.where(region[..., None], np.clip(flat, 0, 255), image), region


def foreign(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a piece of another material lying on this one."""
    region = blob(image.shape, rng)
    return np.where(region[..., None], other, image), region


def colour(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Change hue and saturation of a region, but not its structure."""
    del other
    region = blob(image.shape, rng, 0.07, 0.18)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(30, 150)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + rng.integers(60, 140), 0, 255)
    return np.where(region[..., None], cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), image), region


def distortion(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Twist and smear the structure of a round region towards its centre."""
    del other
    height, width = image.shape[:2]
    radius = rng.uniform(0.12, 0.22) * min(height, width)
    y0, x0 = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(y - y0, x - x0) / radius
    inside = distance < 1
    angle = np.arctan2(y - y0, x - x0) + np.where(inside, rng.choice([-1, 1]) * rng.uniform(2, 4) * (1 - distance), 0)
    far = np.where(inside, distance ** rng.uniform(1.5, 3), distance) * radius
    map_x, map_y = (x0 + far * np.cos(angle)).astype(np.float32), (y0 + far * np.sin(angle)).astype(np.float32)
    return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), inside


def dent(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a distortion with shading: bright on one side, dark on the other."""
    twisted, inside = distortion(image, rng, other)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    radius = np.sqrt(inside.sum() / np.pi)
    light = rng.uniform(0, 2 * np.pi)
    towards = (x - x[inside].mean()) * np.cos(light) + (y - y[inside].mean()) * np.sin(light)
    shade = 1 + rng.uniform(0.25, 0.5) * towards / radius
    return np.where(inside[..., None], np.clip(twisted * shade[..., None], 0, 255), image), inside


def speck(image: Image, rng: np.random.Generator, other: Image) -> tuple[npt.NDArray, Mask]:
    """Draw a small spot or short stroke in the darkest or brightest colour of the image, like a misprint."""
    del other
    if rng.random() < 0.5:  # noqa: PLR2004
        region = blob(image.shape, rng, 0.02, 0.06)
    else:
        region = draw_lines(
            image.shape, [wandering_line(image.shape, rng, 0.15, (0.08, 0.25))], int(rng.integers(2, 5))
        )
    order = image.reshape(-1, 3).sum(axis=1, dtype=np.int64)
    tone = image.reshape(-1, 3)[order.argmin() if rng.random() < 0.5 else order.argmax()]  # noqa: PLR2004
    return np.where(region[..., None], tone, image), region


DEFECTS: Mapping[str, DefectMaker] = {
    function.__name__: function
    for function in (scratch, crack, stain, hole, missing, foreign, colour, distortion, dent, speck)
}
"""Kinds of defects by name."""

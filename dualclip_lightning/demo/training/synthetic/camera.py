"""Simulated camera: light, position, focus, noise and compression, each of which varies slightly between views."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image, Mask


class Camera(NamedTuple):
    """Settings shared by all views of a scene."""

    grey: bool
    turn: float
    """Largest rotation of a view in degrees; 180 for parts that lie in any orientation."""
    shift: float
    """Largest shift of a view as a share of the side."""
    gamma: float
    light: float
    """Strength of a lighting gradient."""
    direction: float
    """Direction of the light, in radians."""
    blur: float
    noise: float
    quality: int
    """Quality of the JPEG compression; 100 for none."""


def random_camera(rng: np.random.Generator, turn: float = 3.0, shift: float = 0.03) -> Camera:
    """Draw a camera for one scene."""
    return Camera(
        grey=rng.random() < 0.35,  # noqa: PLR2004
        turn=turn,
        shift=shift,
        gamma=float(np.exp(rng.normal(0, 0.2))),
        light=float(rng.uniform(0, 0.35)),
        direction=float(rng.uniform(0, 2 * np.pi)),
        blur=float(rng.choice([0.0, rng.uniform(0.4, 1.4)])),
        noise=float(rng.choice([0.0, rng.uniform(1, 7)])),
        quality=int(rng.choice([100, int(rng.integers(55, 96))])),
    )


def take(camera: Camera, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return a view [S, S, 3] of a clean image, and the mask [S, S] transformed in the same way."""
    image, mask = _move(camera, image, mask, rng)
    seen: npt.NDArray = image.astype(np.float32) / 255
    if camera.grey:
        seen = np.repeat(seen @ np.array([[0.3], [0.59], [0.11]], np.float32), 3, axis=2)
    seen = seen ** np.float32(camera.gamma) * _lighting(camera, len(image), rng)
    if camera.blur:
        seen = cv2.GaussianBlur(seen, (0, 0), camera.blur * rng.uniform(0.8, 1.25))
    if camera.noise:
        grain = rng.standard_normal((*seen.shape[:2], 1), dtype=np.float32)
        seen = seen + grain * np.float32(camera.noise / 255)
    taken = np.clip(seen * 255, 0, 255).astype(np.uint8)
    if camera.quality < 100:  # noqa: PLR2004
        taken = cv2.imdecode(cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, camera.quality])[1], 1)
    return taken, mask


def _move(camera: Camera, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
    side = len(image)
    matrix: npt.NDArray = cv2.getRotationMatrix2D(
        (side / 2, side / 2), rng.uniform(-1, 1) * camera.turn, rng.uniform(0.97, 1.06)
    )
    matrix[:, 2] += rng.uniform(-1, 1, 2) * camera.shift * side
    moved: Any = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if not mask.any():
        return moved, mask
    stencil, border = mask.astype(np.uint8), cv2.BORDER_REFLECT_101
    return moved, cv2.warpAffine(stencil, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=border) > 0


def _lighting(camera: Camera, side: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    across = np.linspace(-1, 1, side, dtype=np.float32)
    direction = camera.direction + rng.normal(0, 0.15)
    slope = np.cos(direction) * across[None] + np.sin(direction) * across[:, None]
    return (rng.uniform(0.9, 1.1) * (1 + camera.light * slope)).astype(np.float32)[..., None]

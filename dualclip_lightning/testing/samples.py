"""Small random images on disk, in the layout of MVTec AD."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TWO_SIZES = (40, 56), (64, 52)


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 56)) -> None:
    """Write a smooth random RGB image of height and width `size`."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)


def write_mask(path: Path, size: tuple[int, int] = (40, 56)) -> None:
    """Write a mask of height and width `size` with one rectangle."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def write_mvtec(
    root: Path, category: str, normal: int = 4, anomalous: int = 5, sizes: Sequence[tuple[int, int]] = TWO_SIZES
) -> None:
    """Write a category with 3 training images, and test images that take the sizes (height, width) in turn."""
    for i in range(3):
        write_image(root / category / "train" / "good" / f"{i:03}.png", seed=1000 + i)
    for i in range(normal):
        write_image(root / category / "test" / "good" / f"{i:03}.png", seed=i, size=sizes[i % len(sizes)])
    for i in range(anomalous):
        size = sizes[i % len(sizes)]
        write_image(root / category / "test" / "scratch" / f"{i:03}.png", seed=100 + i, size=size)
        write_mask(root / category / "ground_truth" / "scratch" / f"{i:03}_mask.png", size=size)

"""Textures of pseudo anomalies: heavily augmented photographs from a folder."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from dualclip_lightning.data import texture_paths
from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.tensors import read_rgb
from dualclip_lightning.utilities.files import files_digest

if TYPE_CHECKING:
    from albumentations import Compose

AUGMENTATIONS = 3
"""Number of different augmentations of a texture; given by DRAEM."""

_ONE_THREAD = Lock()
logger = logging.getLogger(__name__)


class TextureSource:
    """Photographs from which textures are drawn.

    Args:
        folder: folder that is searched recursively, for example DTD; None uses the CC0 photographs of this package.

    Raises:
        ValueError: the folder is missing or contains no image.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.paths = texture_paths() if folder is None else _images_below(Path(folder))
        self._broken: set[Path] = set()

    def digest(self) -> str:
        """Return the SHA-256 of the photographs, in the order that `sample` uses."""
        return files_digest({f"{place:06}: {path.name}": path for place, path in enumerate(self.paths)})

    def sample(self, size: tuple[int, int], seed: int) -> Tensor:
        """Sample an augmented texture [3, H, W] in [0, 1] from a seed. An unreadable file is replaced by the next.

        Raises:
            ValueError: none of the files can be read.
        """
        generator = np.random.default_rng(seed)
        start = int(generator.integers(len(self.paths)))
        for path in [*self.paths[start:], *self.paths[:start]]:
            image = self._read(path)
            if image is not None:
                return _augment(resize(image, list(size), antialias=True), seed)
        msg = f"None of the {len(self.paths)} textures can be read, for example '{self.paths[0]}'. Check tta.textures."
        raise ValueError(msg)

    def _read(self, path: Path) -> Tensor | None:
        if path in self._broken:
            return None
        try:
            return read_rgb(path)
        except ImageError as error:
            logger.warning("The texture '%s' cannot be read (%s); the next one is taken in its place.", path, error)
            self._broken.add(path)
            return None


def _images_below(folder: Path) -> list[Path]:
    if folder.is_dir():
        try:
            return find_images([folder]).paths
        except FileNotFoundError:
            pass
    state = "has no image in it" if folder.is_dir() else "is not a folder"
    msg = f"Expected a folder of texture images, but '{folder}' {state}. Leave it out for the packaged ones."
    raise ValueError(msg)


def _augment(texture: Tensor, seed: int) -> Tensor:
    pixels = (texture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    with _ONE_THREAD:  # all threads share one pipeline and its seed
        augmentations = _augmentations()
        augmentations.set_random_seed(seed % 2**32)
        augmented = augmentations(image=np.ascontiguousarray(pixels))["image"]
    return torch.from_numpy(augmented).permute(2, 0, 1) / 255


@lru_cache(maxsize=1)
def _augmentations() -> Compose:
    """Build DRAEM's augmentations, of which some are chosen at random for every texture."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise its import checks the network for updates
    import albumentations as A  # noqa: N812, PLC0415 - takes seconds, and only adaptation needs it

    kinds = [
        A.RandomGamma((50, 200), p=1),
        A.RandomBrightnessContrast(0.3, 0.3, p=1),
        A.Sharpen((0.3, 0.8), p=1),
        A.HueSaturationValue(60, 60, 40, p=1),
        A.Solarize((0.3, 0.7), p=1),
        A.Posterize((2, 5), p=1),
        A.InvertImg(p=1),
        A.AutoContrast(p=1),
        A.Equalize(p=1),
        A.Affine(rotate=(-45, 45), border_mode=4, p=1),
    ]
    return A.Compose([A.SomeOf(kinds, n=AUGMENTATIONS, replace=False, p=1)])

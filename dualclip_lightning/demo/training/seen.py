"""Groups of training images as the frozen stem sees them, drawn once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dualclip_lightning.demo.training.synthetic.grounds import Textures
from dualclip_lightning.demo.training.synthetic.groups import VIEWS, Group, Kinds, make_group
from dualclip_lightning.images.reading.tensors import read_rgb
from dualclip_lightning.utilities.seeding import derive_seed

MEAN = STD = 0.5
"""The stem's network was trained on images in [-1, 1], and the demo model is given the same."""


class Seen(NamedTuple):
    """What the stem made of the groups."""

    maps: Tensor
    """[G, V, C, h, w], half precision."""
    share: Tensor
    """Share of each patch inside a defect [G, V, h, w]."""
    names: list[tuple[str, ...]]
    """Words for what a group shows."""
    kinds: list[frozenset[str]]
    """Kinds of scene and defects in a group."""


def load_textures(folder: Path, size: int, without: frozenset[str]) -> dict[str, list[np.ndarray]]:
    """Photographs by material as bytes [size, size, 3], one folder a material.

    Raises:
        ValueError: no photograph.
    """
    textures: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*/*.*")):
        name = path.parent.name.lower()
        if name not in without and path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
            pixels = F.interpolate(read_rgb(path)[None], (size, size), mode="bicubic", antialias=True)[0].clamp(0, 1)
            textures.setdefault(name, []).append((pixels * 255).round().byte().permute(1, 2, 0).numpy())
    if not textures:
        msg = f"'{folder}' has no folders of photographs. Set --textures to a folder with one folder for each material."
        raise ValueError(msg)
    return textures


@dataclass
class Groups(Dataset):
    """Groups by number; each has a seed of its own, so that the order of drawing does not matter."""

    textures: Textures
    kinds: Kinds
    count: int
    size: int
    seed: int
    views: int = VIEWS

    def __len__(self) -> int:
        """Return how many there are."""
        return self.count

    def __getitem__(self, number: int) -> Group:
        """Draw one."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng(derive_seed(self.seed, "group", number))
        return make_group(self.textures, self.kinds, rng, self.size, self.views)


@torch.no_grad()
def see(features: nn.Module, groups: Dataset, workers: int = 0) -> Seen:
    """Draw all groups and run the stem over them."""
    maps, shares, names, kinds = [], [], [], []
    for group in DataLoader(groups, batch_size=None, num_workers=workers):
        seen = features(to_input(group.images))
        share = F.adaptive_avg_pool2d(torch.as_tensor(group.masks)[:, None].float(), seen.shape[-2:])[:, 0]
        maps.append(seen.half())
        shares.append(share)
        names.append(group.names)
        kinds.append(group.kinds)
    return Seen(torch.stack(maps), torch.stack(shares), names, kinds)


def to_input(images: Sequence[np.ndarray] | np.ndarray | Tensor) -> Tensor:
    """Bytes [V, S, S, 3] as the model is given them: [V, 3, S, S] in [-1, 1]."""
    return (torch.as_tensor(images).permute(0, 3, 1, 2) / 255 - MEAN) / STD

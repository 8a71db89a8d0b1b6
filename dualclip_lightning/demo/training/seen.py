"""Features of the frozen stem for groups of training images, computed once and kept in memory."""

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
"""Normalisation to [-1, 1], on which the stem's network was trained; the demo model uses the same."""


class Seen(NamedTuple):
    """Output of the stem for the groups."""

    maps: Tensor
    """Maps [G, V, C, h, w] in half precision."""
    share: Tensor
    """Share of each patch inside a defect [G, V, h, w]."""
    names: list[tuple[str, ...]]
    """Words for what a group shows."""
    kinds: list[frozenset[str]]
    """Kinds of scene and defects in a group."""


def load_textures(folder: Path, size: int, without: frozenset[str]) -> dict[str, list[np.ndarray]]:
    """Read photographs by material as bytes [size, size, 3], from one folder per material.

    Raises:
        ValueError: there is no photograph.
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
    """Groups by number; each has its own seed, so that the order of drawing does not matter."""

    textures: Textures
    kinds: Kinds
    count: int
    size: int
    seed: int
    views: int = VIEWS

    def __len__(self) -> int:
        """Return the number of groups."""
        return self.count

    def __getitem__(self, number: int) -> Group:
        """Draw one group."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng(derive_seed(self.seed, "group", number))
        return make_group(self.textures, self.kinds, rng, self.size, self.views)


@torch.no_grad()
def see(features: nn.Module, groups: Dataset, workers: int = 0) -> Seen:
    """Draw all groups and run the stem on them."""
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
    """Convert bytes [V, S, S, 3] to the model's input [V, 3, S, S] in [-1, 1]."""
    return (torch.as_tensor(images).permute(0, 3, 1, 2) / 255 - MEAN) / STD

"""Patch features of a memory: the mean over layers, also of rotated normal images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, rotate

from dualclip_lightning.backbone.encoders.stage_tower import StageTower

BANK_BATCH = 4
"""Number of normal images that are encoded at once."""


class MeanLayerEncoder(nn.Module):
    """Mean of the patch tokens of several layers.

    The stages of a network have tokens of different widths, which are concatenated instead, as in PatchCore (arXiv
    2106.08265), without its reduction to 1024 values.

    Args:
        encoder: module that returns the patch tokens of several layers.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.in_stages = isinstance(getattr(encoder, "visual", None), StageTower)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, h, w, C] of images [B, 3, H, W], in single precision."""
        layers = [layer.float() for layer in self.encoder(images).layers]
        return torch.cat(layers, dim=-1) if self.in_stages else torch.stack(layers).mean(dim=0)


def rotations(images: Tensor, angles: Sequence[float], fill: Sequence[float] | None = None) -> Iterator[Tensor]:
    """Yield images [K, 3, H, W], then the same images rotated about their centre by every angle.

    Args:
        images: [K, 3, H, W].
        angles: in degrees, counter-clockwise.
        fill: value of each channel outside the image; None to mirror the image at its borders.
    """
    yield images
    for angle in angles:
        if fill is not None:
            yield rotate(images, angle, InterpolationMode.BILINEAR, fill=list(fill))
        else:
            height, width = images.shape[-2:]
            margins = [min(max(height, width) // 2, side - 1) for side in (width, width, height, height)]
            mirrored = F.pad(images, margins, mode="reflect")
            yield center_crop(rotate(mirrored, angle, InterpolationMode.BILINEAR), [height, width])

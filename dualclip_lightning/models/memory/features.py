"""Patch features of a memory: the mean over layers, also of rotated normal images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, rotate

BANK_BATCH = 4
"""Number of normal images that are encoded at once."""


class MeanLayerEncoder(nn.Module):
    """Mean of the patch tokens of several layers.

    Args:
        encoder: module that returns the patch tokens of several layers, all of one width.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return the features [B, h, w, C] of images [B, 3, H, W], in single precision."""
        return torch.stack([layer.float() for layer in self.encoder(images).layers]).mean(dim=0)


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

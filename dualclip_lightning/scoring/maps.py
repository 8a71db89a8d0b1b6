"""From the patch grid back to pixels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def upsample(score_map: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Bilinear upsampling, with half-pixel centres or aligned corners: [B, h, w] -> [B, H, W].

    It never leaves the range of the map.
    Rounding alone would, by one unit in the last place, and torchmetrics takes the sigmoid of a batch with any score
    above 1.
    """
    pixels = F.interpolate(score_map.unsqueeze(1), size=size, mode="bilinear", align_corners=align_corners).squeeze(1)
    return pixels.clamp(score_map.amin(dim=(1, 2), keepdim=True), score_map.amax(dim=(1, 2), keepdim=True))


def average_neighbours(score_map: Tensor) -> Tensor:
    """Mean over the 3x3 patches around each, those on a border counting beyond it: [B, h, w] -> [B, h, w]."""
    padded = F.pad(score_map.unsqueeze(1), (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(padded, kernel_size=3, stride=1).squeeze(1)

"""From the patch grid back to pixels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def upsample(score_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling with half-pixel centres: [B, h, w] -> [B, H, W]. Never leaves the range of the map.

    Rounding alone would, by one unit in the last place, and torchmetrics takes the sigmoid of a batch with any score
    above 1.
    """
    pixels = F.interpolate(score_map.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
    return pixels.clamp(score_map.amin(dim=(1, 2), keepdim=True), score_map.amax(dim=(1, 2), keepdim=True))

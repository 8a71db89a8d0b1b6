"""From the patch grid back to pixels."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def upsample(score_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling with half-pixel centres: [B, h, w] -> [B, H, W]. Never leaves the range of the map."""
    return F.interpolate(score_map.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)

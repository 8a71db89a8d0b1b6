"""From the patch grid back to pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter1d
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


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Maps [B, H, W] smoothed as by `scipy.ndimage.gaussian_filter` with its defaults; 0 leaves them as they are.

    Images smaller than the kernel are mirrored as often as it takes. Computed in single precision, also under autocast.

    Args:
        maps: in any range, which they never leave.
        sigma: standard deviation in pixels.
    """
    if sigma == 0:
        return maps
    maps = maps.float()
    rows, columns = (_smoothing_matrix(side, sigma).to(maps) for side in maps.shape[-2:])
    with torch.autocast(maps.device.type, enabled=False):
        blurred = rows @ maps @ columns.T
    return blurred.clamp(maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True))


@lru_cache(maxsize=8)
def _smoothing_matrix(side: int, sigma: float) -> Tensor:
    """The one-dimensional filter as a matrix [side, side], whose rows sum to 1."""
    return torch.from_numpy(gaussian_filter1d(np.eye(side), sigma, axis=0))

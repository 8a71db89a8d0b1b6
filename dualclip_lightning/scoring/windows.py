"""Scores of windows of patches and their combination in one map (WinCLIP, arXiv 2303.14814)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision


def harmonic_map(scores: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the harmonic mean over the windows that contain a patch: [B, h', w'] -> [B, h, w] (section 4.2).

    Args:
        scores: score of a window at each of its positions, in [0, 1]; a score of 0 gives 0 for all its patches.
        grid: h and w; the window has sides h - h' + 1 and w - w' + 1.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import harmonic_map
        >>> harmonic_map(torch.tensor([[[0.2, 0.6]]]), grid=(1, 3))  # windows of 1 x 2 patches
        tensor([[[0.2000, 0.3000, 0.6000]]])
    """
    window = grid[0] - scores.shape[1] + 1, grid[1] - scores.shape[2] + 1
    return _sum_over(torch.ones_like(scores[:1]), window) / _sum_over(scores.reciprocal(), window)


def _sum_over(values: Tensor, window: tuple[int, int]) -> Tensor:
    """Sum the values of all windows that contain a patch: [B, h', w'] -> [B, h, w].

    Implemented with pooling, because a convolution may be rounded to TF32 on a GPU and may turn the infinite inverse
    of 0 into NaN.
    """
    height, width = window
    padded = F.pad(values, (width - 1, width - 1, height - 1, height - 1))
    return F.avg_pool2d(padded, window, stride=1, divisor_override=1)


def harmonic_mean(maps: Sequence[Tensor]) -> Tensor:
    """Return the harmonic mean of maps with broadcastable shapes, which combines scales without references.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import harmonic_mean
        >>> harmonic_mean([torch.tensor([0.2, 0.5]), torch.tensor([0.6, 0.5])])
        tensor([0.3000, 0.5000])
    """
    return len(maps) / torch.stack(torch.broadcast_tensors(*(m.reciprocal() for m in maps))).sum(dim=0)


def association_score(queries: Tensor, references: Tensor) -> Tensor:
    """Return half of one minus the largest cosine to any reference: [...] in [0, 1] (WinCLIP+, section 4.3).

    Computed in single precision, also under autocast.

    Args:
        queries: [..., D], of any length.
        references: [R, D], embeddings from all reference images.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import association_score
        >>> association_score(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), references=torch.tensor([[1.0, 0.0]]))
        tensor([0.0000, 0.5000])
    """
    with single_precision(queries.device):
        nearest = F.normalize(queries.float(), dim=-1) @ F.normalize(references.float(), dim=-1).T
    return ((1 - nearest.amax(dim=-1)) / 2).clamp(0, 1)

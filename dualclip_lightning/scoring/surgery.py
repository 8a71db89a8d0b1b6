"""Scores from feature surgery, which removes what the two states have in common (CLIP-AD, arXiv 2311.00453)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision


def feature_surgery(stages: Sequence[Tensor], anchors: Tensor) -> Tensor:
    """Return the similarity of every token to both states without their common part, summed over stages: [B, 1+N, 2].

    In each stage (section 3.2), cosines to the anchors are weighted by the softmax of the class token's cosines divided
    by its mean, then their mean over the states is subtracted. The two entries of a token are therefore negatives of
    each other, bounded by the number of stages. Computed in single precision, also under autocast.

    Args:
        stages: at least one [B, 1+N, D], class token first, of any length.
        anchors: [B, 2, D] or [2, D] (normal, anomalous), of any length.

    Raises:
        ValueError: no stage.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import feature_surgery
        >>> tokens = torch.tensor([[[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]])  # the class token and two patches
        >>> feature_surgery([tokens], anchors=torch.eye(2))[0]
        tensor([[ 0.0000,  0.0000],
                [ 0.5000, -0.5000],
                [-0.5000,  0.5000]])
    """
    if not stages:
        msg = "Expected the tokens of at least one stage, but got none."
        raise ValueError(msg)
    with single_precision(anchors.device):
        return torch.stack([_surgery(tokens.float(), anchors.float()) for tokens in stages]).sum(dim=0)


def _surgery(tokens: Tensor, anchors: Tensor) -> Tensor:
    cosines = F.normalize(tokens, dim=-1) @ F.normalize(anchors, dim=-1).transpose(-1, -2)
    weights = cosines[:, :1].softmax(dim=-1)
    weighted = cosines * weights / weights.mean(dim=-1, keepdim=True)
    return weighted - weighted.mean(dim=-1, keepdim=True)

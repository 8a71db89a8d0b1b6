"""Scores from CLIP's text anchors (Dual-Image CLIP, eq. 1 to 3)."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision

NORMAL, ANOMALOUS = 0, 1
"""Indices of the two states in every tensor with one entry per state."""


def state_logits(embeddings: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """Return the cosine similarity to the anchors of both states, divided by the temperature: [..., 2].

    Args:
        embeddings: [..., D] image or patch embeddings of any length.
        anchors: [2, D], or [B, 2, D] with one pair for every entry of the first dimension of `embeddings`.
        temperature: above 0; small values sharpen the softmax that follows.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import state_logits
        >>> state_logits(torch.tensor([3.0, 4.0]), anchors=torch.eye(2), temperature=0.1)
        tensor([6., 8.])
    """
    anchors = F.normalize(anchors.to(embeddings.dtype), dim=-1)
    if anchors.ndim > 2:  # noqa: PLR2004
        anchors = anchors.reshape(len(anchors), *[1] * (embeddings.ndim - 3), *anchors.shape[1:])
    if embeddings.ndim == 2 and anchors.ndim > 2:  # noqa: PLR2004 - one class embedding per image
        return (F.normalize(embeddings, dim=-1).unsqueeze(1) * anchors).sum(-1) / temperature
    return F.normalize(embeddings, dim=-1) @ anchors.transpose(-1, -2) / temperature


def text_score(embeddings: Tensor, anchors: Tensor, temperature: float) -> Tensor:
    """Return the probability of the anomalous state [...] in [0, 1] for embeddings [..., D] (eq. 1 and 2).

    For patches, this is A_T. Computed in single precision for embeddings of any precision, also under autocast. The
    arguments are those of `state_logits`.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import text_score
        >>> text_score(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), anchors=torch.eye(2), temperature=0.5)
        tensor([0.1192, 0.5000])
    """
    with single_precision(embeddings.device):
        return state_logits(embeddings.float(), anchors.float(), temperature).softmax(dim=-1)[..., ANOMALOUS]

"""Scores from visual references (Dual-Image CLIP, eq. 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def reference_score(queries: Tensor, references: Tensor) -> Tensor:
    """Distance of every patch to the most similar patch of its references, in [0, 1]: A_V [B, h, w].

    One minus the largest cosine over a reference's patches, averaged over the references (eq. 5). Opposite vectors
    would give up to 2; such patches count as 1, so that the score stays a score.

    Args:
        queries: [B, h, w, D] patch embeddings of any length.
        references: [B, K, ..., D] patch embeddings of K references for every query.

    Raises:
        ValueError: no reference (K = 0), or shapes that do not fit.
    """
    if references.ndim < 4 or len(references) != len(queries) or references.shape[1] == 0:  # noqa: PLR2004
        msg = (
            "Expected `references` as [B, K, ..., D] with K >= 1 references for each of the "
            f"{len(queries)} queries, but got {tuple(references.shape)}."
        )
        raise ValueError(msg)
    query = F.normalize(queries.float(), dim=-1).flatten(1, -2)
    reference = F.normalize(references.float(), dim=-1).flatten(2, -2)
    nearest = torch.stack([(query @ r.transpose(-1, -2)).amax(-1) for r in reference.unbind(1)], dim=1)
    return (1 - nearest).clamp(0, 1).mean(dim=1).unflatten(1, queries.shape[1:-1])

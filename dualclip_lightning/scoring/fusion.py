"""How scores are joined (Dual-Image CLIP, eq. 6, 12 and 13). A weighted mean of scores in [0, 1] stays in [0, 1]."""

from __future__ import annotations

from torch import Tensor


def joint_score(text: Tensor, visual: Tensor, alpha: float) -> Tensor:
    """`alpha * text + (1 - alpha) * visual`, for maps of one shape (eq. 6, A_J; also eq. 12)."""
    return alpha * text + (1 - alpha) * visual


def image_score(class_score: Tensor, score_map: Tensor, class_weight: float) -> Tensor:
    """Score of each image [B]: the class-token score [B] joined with the largest value of its map [B, h, w] (eq. 13).

    The map is that of patches, over which the paper's equations are written, so that the score does not depend on how
    the map is drawn.
    """
    return joint_score(class_score, score_map.flatten(1).amax(dim=1), class_weight)

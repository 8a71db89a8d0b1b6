"""Combination of scores (Dual-Image CLIP, eq. 6, 12 and 13). A weighted mean of scores in [0, 1] stays in [0, 1]."""

from __future__ import annotations

from torch import Tensor

from dualclip_lightning.utilities.arguments import check_share


def joint_score(text: Tensor, visual: Tensor, alpha: float) -> Tensor:
    """Return `alpha * text + (1 - alpha) * visual` for maps of equal shape (eq. 6, A_J; also eq. 12).

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import joint_score
        >>> joint_score(torch.tensor([0.25]), torch.tensor([0.75]), alpha=0.5)
        tensor([0.5000])
    """
    return alpha * text + (1 - alpha) * visual


def image_score(class_score: Tensor, score_map: Tensor, class_weight: float) -> Tensor:
    """Combine the class-token score [B] with the largest value of the map [B, h, w] to an image score [B] (eq. 13).

    The map has one value per patch, as in the paper's equations, so the score does not depend on how the map is drawn.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import image_score
        >>> image_score(torch.tensor([0.2]), torch.tensor([[[0.1, 0.8]]]), class_weight=0.5)
        tensor([0.5000])
    """
    return joint_score(class_score, score_map.flatten(1).amax(dim=1), class_weight)


def largest_mean(values: Tensor, share: float) -> Tensor:
    """Return the mean [B] of the largest values [B, n], a share of them rounded down, at least one.

    It is the image score of AnomalyDINO (arXiv 2405.14529) and SubspaceAD (arXiv 2602.23013), with a share of 0.01.

    Raises:
        ValueError: a share outside [0, 1].

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import largest_mean
        >>> largest_mean(torch.tensor([[0.1, 0.4, 0.2, 0.3]]), share=0.5)
        tensor([0.3500])
    """
    check_share("share", share)
    return values.topk(max(1, int(values.shape[1] * share)), dim=1).values.mean(dim=1)

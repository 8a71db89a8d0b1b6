"""Image scores smoothed over similar images (MuSc, arXiv 2401.16753, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision


def rscin(scores: Tensor, class_embeddings: Tensor, k: Sequence[int] = (1, 2, 3), rescale: bool = False) -> Tensor:
    """Re-score images with a constrained image-level neighbourhood: [N] -> [N], in the range of the input.

    Each image gets the mean of the scores of its k nearest images, including itself, weighted by their inner products,
    averaged over all k. If there are fewer than k images, all are used. Negative inner products have weight 0. Computed
    in single precision, also under autocast.

    Args:
        scores: [N].
        class_embeddings: [N, D], of unit length for cosines as in the paper.
        k: numbers of images in a neighbourhood, each at least 1.
        rescale: first scale the scores to [0, 1] over the set, as published (all 0 if they are equal). Weights sum to
            1, so this never changes the order of the results.

    Raises:
        ValueError: inconsistent shapes, no k, or a k below 1.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import rscin
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # two images alike, and one apart
        >>> rscin(torch.tensor([0.2, 0.4, 0.9]), embeddings, k=[2])
        tensor([0.3000, 0.3000, 0.9000])
    """
    check_neighbours(k)
    if scores.ndim != 1 or class_embeddings.ndim != 2 or len(class_embeddings) != len(scores) or not len(scores):  # noqa: PLR2004
        shapes = tuple(scores.shape), tuple(class_embeddings.shape)
        msg = f"Expected scores [N] and class embeddings [N, D] with N >= 1, but got {shapes[0]} and {shapes[1]}."
        raise ValueError(msg)
    scores, classes = scores.float(), class_embeddings.float()
    if rescale:
        scores = (scores - scores.min()) / (scores.max() - scores.min()).clamp_min(torch.finfo(torch.float32).tiny)
    with single_precision(classes.device):
        similarity = classes @ classes.T
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return _neighbourhood_mean(scores.expand_as(similarity), similarity, own, k)


def rscin_of_first(scores: Tensor, class_embeddings: Tensor, k: Sequence[int]) -> Tensor:
    """Re-score the first image of each of B sets as `rscin` does: [B, N] -> [B].

    Args:
        scores: [B, N].
        class_embeddings: [B, N, D].
        k: numbers of images in a neighbourhood, each at least 1.
    """
    classes = class_embeddings.float()
    with single_precision(classes.device):
        similarity = (classes @ classes[:, 0, :, None]).squeeze(-1)
    own = torch.arange(scores.shape[1], device=scores.device) == 0
    return _neighbourhood_mean(scores.float(), similarity, own, k)


def check_neighbours(k: Sequence[int], name: str = "k") -> None:
    """Check the sizes of neighbourhoods.

    Raises:
        ValueError: no size, or a size below 1.
    """
    if not k or min(k) < 1:
        msg = f"Expected {name} to be numbers of images of at least 1, but got {list(k)}. The paper has 1, 2 and 3."
        raise ValueError(msg)


def _neighbourhood_mean(scores: Tensor, similarity: Tensor, own: Tensor, k: Sequence[int]) -> Tensor:
    """Return the mean over all k of each image's neighbourhoods [R], from the R images' rows of N images [R, N].

    Args:
        scores: [R, N], the scores of the N images.
        similarity: [R, N], the inner products with them.
        own: booleans that broadcast to [R, N], true for the image itself.
        k: numbers of images in a neighbourhood.
    """
    # Without the infinite entries, rounding could rank a copy above the image itself.
    ranked = similarity.masked_fill(own, torch.inf)
    nearest = (ranked.topk(min(size, scores.shape[1]), dim=1).indices for size in k)
    return torch.stack([_weighted_mean(scores.gather(1, each), similarity.gather(1, each)) for each in nearest]).mean(0)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of values [R, k] with weights [R, k], of which negative ones count as 0: [R]."""
    weights = weights.clamp_min(0)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return (weights * values).sum(dim=1)

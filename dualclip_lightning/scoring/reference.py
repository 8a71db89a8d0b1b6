"""Scores from visual references (Dual-Image CLIP, eq. 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def reference_score(queries: Tensor, references: Tensor, near: Tensor | None = None) -> Tensor:
    """Distance of every patch to the most similar patch of its references, in [0, 1]: A_V [B, h, w].

    One minus the largest cosine over a reference's patches, averaged over the references (eq. 5). Opposite vectors
    would give up to 2; such patches count as 1, so that the score stays a score. Computed in single precision, also
    under autocast.

    Args:
        queries: [B, h, w, D] patch embeddings of any length.
        references: [B, K, ..., D] patch embeddings of K references for every query.
        near: booleans [h*w, N], which of a reference's N patches a patch may be compared with; None for all. At least
            one in every row, as `within_window` gives it.

    Raises:
        ValueError: no reference (K = 0), shapes that do not fit, or a patch that may be compared with none.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import reference_score
        >>> image = torch.eye(2).view(1, 1, 2, 2)  # two patches, of which the reference has only the first
        >>> reference_score(image, references=torch.tensor([[[[1.0, 0.0]]]]))
        tensor([[[0., 1.]]])
    """
    if references.ndim < 4 or len(references) != len(queries) or references.shape[1] == 0:  # noqa: PLR2004
        msg = (
            "Expected `references` as [B, K, ..., D] with K >= 1 references for each of the "
            f"{len(queries)} queries, but got {tuple(references.shape)}."
        )
        raise ValueError(msg)
    query = F.normalize(queries.float(), dim=-1).flatten(1, -2)
    reference = F.normalize(references.float(), dim=-1).flatten(2, -2)
    far = None if near is None else ~_check_near(near, query.shape[1], reference.shape[2])
    nearest = torch.stack([_largest_cosine(query, r, far) for r in reference.unbind(1)], dim=1)
    return (1 - nearest).clamp(0, 1).mean(dim=1).unflatten(1, queries.shape[1:-1])


def within_window(queries: Tensor, references: Tensor, window: float) -> Tensor:
    """Which reference patches lie at the place of each query patch, for products that are always aligned: [Q, N].

    A place counts if neither coordinate differs by more than the window; the nearest place counts whatever the window.

    Args:
        queries: [Q, 2] centres of patches as shares of the image's height and width.
        references: [N, 2], likewise.
        window: the largest difference, as a share of the image's side; 1 lets all count.

    Raises:
        ValueError: a negative window.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import within_window
        >>> places = torch.tensor([[0.5, 0.25], [0.5, 0.75]])  # of two patches side by side
        >>> within_window(places, places, window=0.1)
        tensor([[ True, False],
                [False,  True]])
    """
    if not window >= 0:
        msg = f"Expected the spatial window to be a share of the image's side of at least 0, but got {window}."
        raise ValueError(msg)
    distance = torch.cdist(queries.float(), references.float(), p=torch.inf)
    slack = 1e-4  # places are computed by divisions that round
    return distance <= distance.amin(dim=1, keepdim=True).clamp(min=window) + slack


def _largest_cosine(query: Tensor, reference: Tensor, far: Tensor | None) -> Tensor:
    """[B, Q] from unit vectors [B, Q, D] and [B, N, D], without what is far [Q, N]."""
    with torch.autocast(query.device.type, enabled=False):
        cosine = query @ reference.transpose(-1, -2)
    return (cosine if far is None else cosine.masked_fill(far, -torch.inf)).amax(-1)


def _check_near(near: Tensor, queries: int, references: int) -> Tensor:
    if near.shape != (queries, references) or not near.any(dim=1).all():
        msg = (
            f"Expected `near` as booleans [{queries}, {references}] with one reference patch or more for every patch, "
            f"but got {tuple(near.shape)}. `within_window` makes it."
        )
        raise ValueError(msg)
    return near

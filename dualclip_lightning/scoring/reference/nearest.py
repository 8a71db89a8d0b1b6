"""Distances to the nearest patch of visual references (Dual-Image CLIP, eq. 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision

MOST_COSINES = 2**25
"""Approximate number of cosines that are in memory at once, 128 MB."""


def reference_score(queries: Tensor, references: Tensor, near: Tensor | None = None) -> Tensor:
    """Return the distance of every patch to the most similar patch of its references, in [0, 1]: A_V [B, h, w].

    The distance is one minus the largest cosine over the patches of a reference, averaged over the references (eq. 5).
    Opposite vectors would give up to 2; values above 1 are clamped. Computed in single precision, also under autocast.

    Args:
        queries: [B, h, w, D] patch embeddings of any length.
        references: [B, K, ..., D] patch embeddings of K references for every query.
        near: booleans [h*w, N], true for the patches of a reference with which a patch may be compared, at least one
            in every row, such as the result of `within_window`; None for all.

    Raises:
        ValueError: no reference (K = 0), inconsistent shapes, or a row of `near` without a true value.

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
    distances = nearest_distances(query, reference.unbind(1), None if near is None else [near] * reference.shape[1])
    return distances.mean(dim=1).unflatten(1, queries.shape[1:-1])


def within_window(queries: Tensor, references: Tensor, window: float) -> Tensor:
    """Mark the reference patches near each query patch [Q, N], for products that are always aligned.

    A patch is near if neither coordinate differs by more than the window. The nearest patch is always included.

    Args:
        queries: [Q, 2] centres of patches as shares of the image's height and width.
        references: [N, 2], likewise.
        window: largest difference as a share of the image's side; 1 includes all patches.

    Raises:
        ValueError: the window is negative.

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
    slack = 1e-4  # coordinates have rounding errors from divisions
    return distance <= distance.amin(dim=1, keepdim=True).clamp(min=window) + slack


def near_places(near: Sequence[Tensor] | None, count: int) -> Sequence[Tensor] | None:
    """Return booleans for the `count` places of each patch from those for patches, as in `nearest_distances`."""
    if near is None or count == 1:
        return near
    return [each.repeat_interleave(count, 0).repeat_interleave(count, 1) for each in near]


def nearest_distances(queries: Tensor, references: Sequence[Tensor], near: Sequence[Tensor] | None = None) -> Tensor:
    """Return one minus the largest cosine to any patch of each reference, clamped to [0, 1]: [B, K, P].

    Args:
        queries: [B, P, D], of length 1.
        references: K tensors [B, N, D], or [1, N, D] for all queries, of length 1; N may differ between references.
        near: for each reference booleans [P, N], as in `reference_score`; None for all patches.

    Raises:
        ValueError: a row of `near` without a true value, or of another shape.
    """
    found = []
    for place, reference in enumerate(references):
        far = None if near is None else ~_check_near(near[place], queries.shape[1], reference.shape[1])
        found.append(_largest_cosine(queries, reference, far))
    return (1 - torch.stack(found, dim=1)).clamp(0, 1)


def distances_in_batch(images: Tensor, rows: Tensor) -> Tensor:
    """Return distances as of `nearest_distances` between the images of a batch: [B, K, P].

    Cosines are symmetric: the products of two images that are each other's references are computed once.

    Args:
        images: [B, P, D], of length 1.
        rows: [B, K], the rows of each image's references.
    """
    own = torch.arange(len(rows), device=rows.device)[:, None].expand_as(rows)
    ordered = torch.stack([torch.minimum(own, rows), torch.maximum(own, rows)], dim=-1).flatten(0, 1)
    pairs, number = torch.unique(ordered, dim=0, return_inverse=True)
    nearest = torch.stack([torch.cat(found) for found in zip(*_both_ways(images, pairs), strict=True)])
    cosines = nearest[(own > rows).flatten().long(), number].view(*rows.shape, -1)
    return (1 - cosines).clamp(0, 1)


def _both_ways(images: Tensor, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for some pairs [n, 2] at a time, the largest cosines [n, P] of the first's patches and of the second's."""
    for part in pairs.split(max(1, MOST_COSINES // images.shape[1] ** 2)):
        with single_precision(images.device):
            cosines = images[part[:, 0]] @ images[part[:, 1]].transpose(1, 2)
        yield cosines.amax(dim=2), cosines.amax(dim=1)


def _largest_cosine(query: Tensor, reference: Tensor, far: Tensor | None) -> Tensor:
    """Return the largest cosines [B, Q] of unit vectors [B, Q, D] and [B, N, D], except for pairs in `far` [Q, N]."""
    if torch.compiler.is_compiling():  # the size of the parts would be a constant of the graph
        return _cosines(query, reference, far).amax(-1)
    size = max(1, MOST_COSINES // (len(query) * reference.shape[1]))
    starts = range(0, query.shape[1], size)
    parts = (slice(start, start + size) for start in starts)
    found = [_cosines(query[:, own], reference, None if far is None else far[own]).amax(-1) for own in parts]
    return torch.cat(found, dim=1)


def _cosines(query: Tensor, reference: Tensor, far: Tensor | None) -> Tensor:
    with single_precision(query.device):
        cosine = query @ reference.transpose(-1, -2)
    return cosine if far is None else cosine.masked_fill(far, -torch.inf)


def _check_near(near: Tensor, queries: int, references: int) -> Tensor:
    complete = torch.compiler.is_compiling() or near.any(dim=1).all()  # values are unknown while a graph is made
    if near.shape != (queries, references) or not complete:
        msg = (
            f"Expected `near` as booleans [{queries}, {references}] with one reference patch or more for every patch, "
            f"but got {tuple(near.shape)}. `within_window` makes it."
        )
        raise ValueError(msg)
    return near

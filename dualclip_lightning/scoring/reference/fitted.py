"""References that are ready for comparison by one descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualclip_lightning.scoring.reference.nearest import distances_in_batch, nearest_distances
from dualclip_lightning.scoring.reference.subspace import Subspace


class Fitted(Protocol):
    """The references of every query for one descriptor."""

    def distances(self, queries: Tensor, near: Sequence[Tensor] | None) -> Tensor:
        """Return the distances [B, P] in [0, 1] of queries [B, P, C]."""


class NearestPatches(NamedTuple):
    """Distances to the nearest patches of each reference, averaged over all references or the lowest share of them."""

    references: Sequence[Tensor]
    """K references [B, N, C], or [1, N, C] for all queries."""
    lowest: float | None
    """The share; None for all references."""

    def distances(self, queries: Tensor, near: Sequence[Tensor] | None) -> Tensor:
        """See `Fitted`."""
        return _joined(nearest_distances(queries, self.references, near), self.lowest)


class NearestInBatch(NamedTuple):
    """Distances as of `NearestPatches` to other images of the batch of queries."""

    rows: Tensor
    """[B, K], the references of each image."""
    lowest: float | None
    """The share; None for all references."""

    def distances(self, queries: Tensor, near: Sequence[Tensor] | None) -> Tensor:
        """See `Fitted`.

        Raises:
            ValueError: `near` is given.
        """
        if near is not None:
            msg = "References of the same batch are compared without places. Leave `near` out."
            raise ValueError(msg)
        return _joined(distances_in_batch(queries, self.rows), self.lowest)


def _joined(distances: Tensor, lowest: float | None) -> Tensor:
    """Return the mean [B, P] of the distances [B, K, P] to all references or the lowest share of them."""
    if lowest is not None:
        distances = distances.topk(max(1, int(distances.shape[1] * lowest)), dim=1, largest=False).values
    return distances.mean(dim=1)


class Subspaces(NamedTuple):
    """Half the squared distances to a subspace of each query, which for vectors of length 1 are on eq. 5's scale."""

    subspaces: Sequence[Subspace]
    """One for every query, or one for all."""

    def distances(self, queries: Tensor, near: Sequence[Tensor] | None) -> Tensor:
        """See `Fitted`.

        Raises:
            ValueError: `near` is given.
        """
        if near is not None:
            msg = "A subspace has no places. Leave spatial_window out, or set reference_fusion to 'mean' or 'lowest'."
            raise ValueError(msg)
        if len(self.subspaces) == 1:
            return (self.subspaces[0].residuals(queries) / 2).clamp(0, 1)
        found = [each.residuals(own) / 2 for own, each in zip(queries, self.subspaces, strict=True)]
        return torch.stack(found).clamp(0, 1)

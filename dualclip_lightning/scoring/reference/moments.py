"""Mean and covariance of patches that do not fit into memory together."""

from __future__ import annotations

import torch
from torch import Tensor

from dualclip_lightning.scoring.reference.subspace import (
    Subspace,
    check_explained_variance,
    double,
    leading_components,
)


class PatchMoments:
    """Mean and scatter of patches, accumulated batch by batch in double precision, and the subspace they give.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import PatchMoments
        >>> moments = PatchMoments()
        >>> moments.add(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        >>> moments.add(torch.tensor([[4.0, 1.0]]))
        >>> moments.variance  # of the first coordinate
        4.0
        >>> moments.subspace().residuals(torch.tensor([[9.0, 1.0], [2.0, 3.0]])).round()
        tensor([0., 4.])
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, patches: Tensor) -> None:
        """Add patches [n, C]; means and scatters are joined as in Chan, Golub and LeVeque (1983)."""
        exact = double(patches)
        mean = exact.mean(dim=0)
        centred = exact - mean
        scatter = centred.T @ centred
        if self.count:
            total = self.count + len(exact)
            shift = mean - self.mean
            scatter += self.scatter + torch.outer(shift, shift) * (self.count * len(exact) / total)
            mean = self.mean + shift * (len(exact) / total)
        self.count, self.mean, self.scatter = self.count + len(exact), mean, scatter

    @property
    def variance(self) -> float:
        """Mean squared distance of the patches to their mean, with n - 1 in the denominator."""
        return float(self.scatter.trace()) / max(1, self.count - 1)

    def subspace(self, explained_variance: float = 0.99) -> Subspace:
        """Return the subspace of the fewest leading components that explain a share of the variance.

        Args:
            explained_variance: share of the variance, in (0, 1).

        Raises:
            ValueError: no patch was added, or the share is outside (0, 1).
        """
        check_explained_variance(explained_variance)
        if not self.count:
            msg = "Expected at least one patch, but none was added."
            raise ValueError(msg)
        components = leading_components(self.scatter, explained_variance)
        return Subspace(self.mean.float(), components.float())

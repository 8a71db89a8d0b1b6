"""A subspace of normal patches, and the residual outside it (SubspaceAD)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision
from dualclip_lightning.utilities.arguments import is_number


class Subspace(NamedTuple):
    """The affine subspace of the leading principal components of some patches.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import Subspace
        >>> line = Subspace(mean=torch.zeros(2), components=torch.tensor([[1.0], [0.0]]))  # the first axis
        >>> line.residuals(torch.tensor([[7.0, 0.0], [7.0, 3.0]]))
        tensor([0., 9.])
    """

    mean: Tensor
    """[C]"""
    components: Tensor
    """[C, k], orthonormal columns."""

    def residuals(self, patches: Tensor) -> Tensor:
        """Return the squared distance [...] of patches [..., C] to the subspace, in single precision."""
        with single_precision(patches.device):
            centred = patches.float() - self.mean
            return (centred - centred @ self.components @ self.components.T).square().sum(dim=-1)


def fit_subspace(patches: Tensor, explained_variance: float = 0.99) -> Subspace:
    """Fit the subspace of the fewest leading principal components that explain a share of the variance.

    Computed in double precision on the smaller of the two products of the centred patches, then returned in single
    precision. Patches are taken as they are, without normalisation.

    Args:
        patches: [n, C], n at least 1.
        explained_variance: share of the variance, in (0, 1).

    Raises:
        ValueError: no patch, or a share outside (0, 1).

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import fit_subspace
        >>> patches = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])  # on a line
        >>> fit_subspace(patches).residuals(torch.tensor([[9.0, 1.0], [2.0, 3.0]])).round()
        tensor([0., 4.])
    """
    check_explained_variance(explained_variance)
    if patches.ndim != 2 or not len(patches):  # noqa: PLR2004
        msg = f"Expected patches as [n, C] with n >= 1, but got {tuple(patches.shape)}."
        raise ValueError(msg)
    exact = double(patches)
    mean = exact.mean(dim=0)
    centred = exact - mean
    few = len(patches) < patches.shape[1]
    product = centred @ centred.T if few else centred.T @ centred
    leading = leading_components(product, explained_variance)
    components = F.normalize(centred.T @ leading, dim=0) if few else leading
    return Subspace(mean.to(patches.device, torch.float32), components.to(patches.device, torch.float32))


def leading_components(product: Tensor, explained_variance: float) -> Tensor:
    """Return the fewest leading eigenvectors [n, k] of a product [n, n] whose values have a share of the total.

    Directions without variance are left out, so k is 0 for equal patches.
    """
    values, vectors = torch.linalg.eigh(product)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    count = int((values.cumsum(dim=0) < explained_variance * values.sum()).sum()) + 1
    rank = int((values > values[0] * len(values) * torch.finfo(values.dtype).eps).sum())
    return vectors[:, : min(count, rank)]


def double(patches: Tensor) -> Tensor:
    """Return patches in double precision, on the host if their device does not have it."""
    return patches.cpu().double() if patches.device.type == "mps" else patches.double()


def check_explained_variance(share: float) -> None:
    """Check the share of the variance.

    Raises:
        ValueError: not a number in (0, 1).
    """
    if not (is_number(share) and 0 < share < 1):
        msg = f"Expected explained_variance to be in (0, 1), but got {share!r}. SubspaceAD has 0.99."
        raise ValueError(msg)

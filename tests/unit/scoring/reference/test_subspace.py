"""The subspace, compared with recorded vectors of SubspaceAD's released code and with scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from dualclip_lightning.scoring import fit_subspace

CLOSE = {"atol": 1e-5, "rtol": 1e-6}
"""Tolerance for the recorded residuals, whose values go up to 54."""


@pytest.mark.parametrize(
    ("fitted_on", "prefix"),
    [("in.references", "out."), ("in.queries", "out.zero_shot.")],
    ids=["references", "queries"],
)
def test_reproduces_the_recorded_vectors(golden, fitted_on, prefix):
    vectors = golden("subspace")
    share = vectors["in.explained_variance"].item()
    subspace = fit_subspace(vectors[fitted_on].flatten(0, 1), share)
    assert subspace.components.shape == (24, vectors[f"{prefix}k"].item())
    torch.testing.assert_close(subspace.mean.double(), vectors[f"{prefix}mean"].double(), **CLOSE)
    found = subspace.residuals(vectors["in.queries"]).unflatten(1, (6, 6))
    torch.testing.assert_close(found, vectors[f"{prefix}residual"], **CLOSE)


def test_the_projector_is_the_recorded_one(golden):
    vectors = golden("subspace")
    components = fit_subspace(vectors["in.references"].flatten(0, 1), 0.99).components
    torch.testing.assert_close((components @ components.T).double(), vectors["out.projector"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [5, 12, 13, 40])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_equals_scikit_learn_for_few_and_for_many_patches(generator, count, share):
    patches = (torch.randn(count, 12, generator=generator) * torch.arange(1, 13)).double()
    queries = 3 * torch.randn(7, 12, generator=generator)
    peer = PCA(n_components=share, svd_solver="full").fit(patches.numpy())
    subspace = fit_subspace(patches.float(), share)
    assert subspace.components.shape[1] == peer.n_components_
    left = queries.numpy() - peer.inverse_transform(peer.transform(queries.double().numpy()))
    torch.testing.assert_close(subspace.residuals(queries).double(), torch.from_numpy((left**2).sum(1)), **CLOSE)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_equal_patches_leave_only_their_mean(count):
    patches = torch.full((count, 6), 2.0)
    subspace = fit_subspace(patches)
    assert subspace.components.shape == (6, 0)
    torch.testing.assert_close(subspace.residuals(torch.tensor([[2.0] * 6, [3.0] * 6])), torch.tensor([0.0, 6.0]))


@pytest.mark.parametrize("share", [0, 1, 1.5, "most", True])
def test_another_share_is_refused(share):
    with pytest.raises(ValueError, match=r"explained_variance to be in \(0, 1\)"):
        fit_subspace(torch.ones(3, 4), share)


@pytest.mark.parametrize("shape", [(0, 4), (2, 3, 4)])
def test_no_list_of_patches_is_refused(shape):
    with pytest.raises(ValueError, match=r"\[n, C\] with n >= 1"):
        fit_subspace(torch.ones(shape))

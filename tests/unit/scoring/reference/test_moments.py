"""Moments that are accumulated in batches, against numpy and against the subspace of all patches at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualclip_lightning.scoring import PatchMoments, fit_subspace


@pytest.fixture
def patches(generator):
    return 100 + torch.randn(50, 6, generator=generator) * torch.arange(1, 7)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_mean_and_covariance_do_not_depend_on_the_batches(patches, size):
    moments = PatchMoments()
    for part in patches.split(size):
        moments.add(part)
    exact = patches.double().numpy()
    np.testing.assert_allclose(moments.mean.numpy(), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.scatter.numpy() / 49, np.cov(exact.T), rtol=1e-9, atol=1e-9)
    assert moments.variance == pytest.approx(np.cov(exact.T).trace())


def test_the_subspace_is_that_of_all_patches_at_once(patches):
    moments = PatchMoments()
    for part in patches.split(20):
        moments.add(part)
    found, expected = moments.subspace(0.9), fit_subspace(patches, 0.9)
    assert found.components.shape == expected.components.shape
    torch.testing.assert_close(found.residuals(patches), expected.residuals(patches), atol=1e-3, rtol=1e-4)


def test_no_patch_gives_no_subspace():
    with pytest.raises(ValueError, match="at least one patch"):
        PatchMoments().subspace()

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dualclip_lightning.prompts import prompt_ensemble
from dualclip_lightning.prompts.representative import representative_vector

KINDS = ["mean", "pca", "kde", "dbscan", "mean_shift"]
EXACT = {"atol": 1e-5, "rtol": 0}


def cluster(count: int, seed: int, spread: float = 0.05, dim: int = 16) -> torch.Tensor:
    """Return unit vectors around a random direction."""
    generator = torch.Generator().manual_seed(seed)
    centre = normalize(torch.randn(dim, generator=generator), dim=0)
    return normalize(centre + spread * torch.randn(count, dim, generator=generator), dim=-1)


def unit_mean(vectors: torch.Tensor) -> torch.Tensor:
    return normalize(vectors.mean(dim=0), dim=0)


@pytest.mark.parametrize("kind", KINDS)
def test_is_one_vector_of_length_1_the_same_every_time_whatever_the_order(kind):
    embeddings = torch.cat([cluster(20, 1), cluster(9, 2)])
    vector = representative_vector(embeddings, kind, min_samples=5)
    assert vector.shape == (16,)
    assert vector.dtype == torch.float32
    torch.testing.assert_close(vector.norm(), torch.tensor(1.0))
    assert torch.equal(vector, representative_vector(embeddings, kind, min_samples=5))
    torch.testing.assert_close(vector, representative_vector(embeddings.flip(0), kind, min_samples=5), **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_lies_on_the_side_of_the_prompts(kind):
    embeddings = cluster(20, 1, spread=0.01, dim=256)
    assert representative_vector(embeddings, kind) @ unit_mean(embeddings) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_prompt_is_its_own_representative(kind):
    embeddings = cluster(1, 1)
    torch.testing.assert_close(representative_vector(embeddings, kind, min_samples=1), embeddings[0], **EXACT)


def test_mean():
    embeddings = torch.cat([cluster(20, 1), cluster(9, 2)])
    torch.testing.assert_close(representative_vector(embeddings, "mean"), unit_mean(embeddings), **EXACT)


def test_pca_is_the_first_component_over_prompts_with_dimensions_as_samples():
    embeddings = torch.cat([cluster(20, 1), cluster(9, 2)]).double()
    samples = embeddings.T.numpy()
    centred = samples - samples.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    expected = centred @ vectors[:, values.argmax()]
    expected *= np.sign(expected @ samples.mean(axis=1)) / np.linalg.norm(expected)
    np.testing.assert_allclose(representative_vector(embeddings, "pca"), expected, atol=1e-5)


def test_kde_weights_by_density():
    embeddings = torch.cat([cluster(20, 1), cluster(9, 2)]).double()
    squared = torch.cdist(embeddings, embeddings).square()
    density = (-squared / (2 * 0.3**2)).exp().mean(dim=1)
    expected = normalize((density[:, None] * embeddings).sum(0), dim=0)
    torch.testing.assert_close(representative_vector(embeddings, "kde").double(), expected, **EXACT)


def test_kde_does_not_overflow_in_many_dimensions():
    assert torch.isfinite(representative_vector(cluster(5, 1, dim=4096), "kde")).all()


def test_dbscan_is_the_mean_of_the_largest_cluster():
    small, large, stray = cluster(16, 1, 0.01), cluster(30, 2, 0.01), cluster(3, 3)
    vector = representative_vector(torch.cat([small, large, stray]), "dbscan")
    torch.testing.assert_close(vector, unit_mean(large), **EXACT)


def test_dbscan_with_the_numbers_for_visa_is_the_mean():
    embeddings = torch.cat([cluster(26, 1, 0.2), cluster(30, 1, 0.1)])
    vector = representative_vector(embeddings, "dbscan", eps=1.5, min_samples=25)
    torch.testing.assert_close(vector, unit_mean(embeddings), **EXACT)


def test_mean_shift_at_the_published_bandwidth_is_the_mean():
    embeddings = torch.cat([cluster(20, 1), cluster(9, 2)])
    torch.testing.assert_close(representative_vector(embeddings, "mean_shift"), unit_mean(embeddings), **EXACT)


def test_if_dbscan_finds_no_cluster_the_mean_is_used_with_a_warning(caplog):
    embeddings = cluster(10, 1)
    torch.testing.assert_close(representative_vector(embeddings, "dbscan"), unit_mean(embeddings), **EXACT)
    assert "larger eps or a smaller min_samples" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"kind": "median"}, "'mean', 'pca', 'kde', 'dbscan' or 'mean_shift'"),
        ({"eps": 0.0}, "eps to be a number above 0"),
        ({"min_samples": 0}, "min_samples to be a whole number of at least 1"),
        ({"embeddings": torch.zeros(0, 4)}, r"at least one prompt"),
        ({"embeddings": torch.zeros(4)}, r"\[P, D\]"),
    ],
)
def test_bad_input_is_an_error_that_names_the_remedy(arguments, match):
    with pytest.raises(ValueError, match=match):
        representative_vector(**{"embeddings": cluster(5, 1)} | arguments)


def test_clip_ads_words_are_9_and_10_states_in_22_templates():
    prompts = prompt_ensemble("metal nut", wording="clip_ad")
    assert [len(state) for state in prompts] == [9 * 22, 10 * 22]
    assert "a photo of the metal nut without contamination." in prompts.normal
    assert "a jpeg corrupted photo of a broken metal nut." in prompts.anomalous
    assert "a photo of the metal nut with crack for anomaly detection." in prompts.anomalous
    assert "a photo of a metal nut." not in prompts.normal

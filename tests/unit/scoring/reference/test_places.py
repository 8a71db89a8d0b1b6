"""Patches with several places, and images of a batch as references of each other, by plain loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualclip_lightning.scoring import ReferenceScoring
from dualclip_lightning.scoring.reference import nearest
from dualclip_lightning.scoring.reference.nearest import distances_in_batch, nearest_distances

ROWS = torch.tensor([[1, 2, 3], [2, 3, 0], [3, 0, 1], [4, 1, 2], [3, 3, 0]])
"""Of five images, with references that are mutual, one-sided and doubled."""


@pytest.fixture
def layers(generator):
    """Two layers of five images of 2 x 3 patches, with 4 places of 6 channels and 1 place of 5 channels each."""
    shapes = [(5, 2, 3, 4, 6), (5, 2, 3, 1, 5)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))


def by_loops(layers, rows, kept: int, near=None) -> np.ndarray:
    """Compute A_V: of each place the nearest place of a reference, of each patch its farthest place."""
    found = np.zeros((len(layers), *layers[0].shape[:3]))
    for number, layer in enumerate(layers):
        values = layer.double().numpy()
        for image, row, column in np.ndindex(found.shape[1:]):
            places = []
            for own in values[image, row, column]:
                nearest = []
                for other in rows[image].tolist():
                    patches = values[other].reshape(6, -1, values.shape[-1])
                    allowed = [p for p in range(6) if near is None or near[row * 3 + column, p]]
                    best = max(cosine(own, place) for p in allowed for place in patches[p])
                    nearest.append(min(max(1 - best, 0), 1))
                places.append(np.mean(sorted(nearest)[:kept]))
            found[number, image, row, column] = max(places)
    return found.mean(axis=0)


@pytest.mark.parametrize(("fusion", "lowest", "kept"), [("mean", 0.3, 3), ("lowest", 0.3, 1), ("lowest", 0.7, 2)])
def test_a_patch_has_the_largest_distance_of_its_places(layers, fusion, lowest, kept):
    scoring = ReferenceScoring(path="stem", fusion=fusion, lowest=lowest)
    own = scoring.descriptors(layers)
    described = scoring.as_reference(torch.empty(0), own, lambda _: [])
    assert [each.shape for each in described] == [(5, 6, 4, 6), (5, 6, 1, 5)]
    expected = by_loops(layers, ROWS, kept)
    given = scoring.fit([each[rows] for rows in ROWS.T] for each in described)
    np.testing.assert_allclose(scoring.score(own, given), expected, atol=1e-5)
    np.testing.assert_allclose(scoring.score(own, scoring.fit_batch(described, ROWS)), expected, atol=1e-5)


def test_a_window_of_patches_holds_for_all_their_places(layers, generator):
    near = torch.rand(6, 6, generator=generator) < 0.4
    near.fill_diagonal_(fill_value=True)
    scoring = ReferenceScoring(path="stem")
    own = scoring.descriptors(layers)
    fitted = scoring.fit([each[:1].flatten(1, 2)] for each in own)
    rows = torch.zeros(5, 1, dtype=torch.long)
    np.testing.assert_allclose(scoring.score(own, fitted, [near]), by_loops(layers, rows, 1, near), atol=1e-5)


def test_a_subspace_has_the_patches_farthest_place_too(layers):
    scoring = ReferenceScoring(path="stem", fusion="subspace", explained_variance=0.5)
    own = scoring.descriptors(layers)
    fitted = list(scoring.fit_batch(scoring.as_reference(torch.empty(0), own, lambda _: []), ROWS[:, :1]))
    found = scoring.score(own, fitted)
    places = [each.distances(query.flatten(1, -2), None) for query, each in zip(own, fitted, strict=True)]
    expected = (places[0].view(5, 2, 3, 4).amax(3) + places[1].view(5, 2, 3)) / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("most", [1, 40, 2**25])
def test_images_of_a_batch_have_the_distances_of_given_references(generator, monkeypatch, most):
    monkeypatch.setattr(nearest, "MOST_COSINES", most)
    images = torch.nn.functional.normalize(torch.randn(5, 4, 6, generator=generator), dim=-1)
    expected = nearest_distances(images, [images[rows] for rows in ROWS.T])
    torch.testing.assert_close(distances_in_batch(images, ROWS), expected, atol=1e-6, rtol=0)


def test_every_pair_of_a_batch_is_multiplied_once(generator, monkeypatch):
    images = torch.nn.functional.normalize(torch.randn(5, 4, 6, generator=generator), dim=-1)
    everyone = torch.tensor([[j for j in range(5) if j != i] for i in range(5)])
    seen = []
    both = nearest._both_ways
    monkeypatch.setattr(nearest, "_both_ways", lambda images, pairs: seen.append(len(pairs)) or both(images, pairs))
    distances_in_batch(images, everyone)
    assert seen == [10]


@pytest.mark.parametrize("most", [1, 30, 2**25])
def test_parts_of_the_patches_give_the_distances_of_all(generator, monkeypatch, most):
    queries, references = (torch.randn(2, 7, 6, generator=generator) for _ in range(2))
    near = torch.eye(7, dtype=torch.bool)
    monkeypatch.setattr(nearest, "MOST_COSINES", most)
    for window, whole in ((None, (1 - queries @ references.transpose(1, 2)).amin(2)),
                          ([near], 1 - (queries * references).sum(2))):  # fmt: skip
        found = nearest_distances(queries, [references], window)
        torch.testing.assert_close(found[:, 0], whole.clamp(0, 1), atol=1e-5, rtol=0)


def test_images_of_a_batch_have_no_places(layers):
    scoring = ReferenceScoring(path="stem")
    own = scoring.descriptors(layers)
    with pytest.raises(ValueError, match="compared without places"):
        scoring.score(own, scoring.fit_batch(own, ROWS), [torch.ones(6, 6, dtype=torch.bool)])

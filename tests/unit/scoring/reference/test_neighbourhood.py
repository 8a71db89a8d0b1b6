"""Aggregated tokens, compared with recorded vectors of the released code and with loops over every patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.scoring.reference.neighbourhood import (
    aggregate,
    check_sides,
    neighbourhood_mean,
    neighbourhood_similarity,
)

EXACT = {"atol": 1e-5, "rtol": 0}


def looped(tokens: torch.Tensor, side: int, *, similar: bool) -> np.ndarray:
    """Loop over the neighbours of every patch in double precision, with zeros beyond the border."""
    values = tokens.double().numpy()
    found = np.zeros_like(values)
    images, rows, columns, channels = values.shape
    for b, i, j in np.ndindex(images, rows, columns):
        total, weights = np.zeros(channels), 0.0
        for di in range(-(side // 2), side // 2 + 1):
            for dj in range(-(side // 2), side // 2 + 1):
                inside = 0 <= i + di < rows and 0 <= j + dj < columns
                neighbour = values[b, i + di, j + dj] if inside else np.zeros(channels)
                weight = np.exp(-np.linalg.norm(neighbour - values[b, i, j])) if similar else 1.0
                total, weights = total + weight * neighbour, weights + weight
        found[b, i, j] = total / weights
    return found


def recorded_layers(vectors):
    return [vectors[f"in.layer{i}"][:, 1:].unflatten(1, (6, 6)) for i in range(3)]


@pytest.mark.parametrize("side", [1, 3, 5])
def test_similarity_reproduces_the_recorded_vectors_of_one_degree(golden, side):
    vectors = golden("snamd")
    found = torch.stack([neighbourhood_similarity(layer, side) for layer in recorded_layers(vectors)], dim=3)
    torch.testing.assert_close(found.flatten(1, 2), vectors[f"out.r{side}.features"], **EXACT)


def test_the_mean_over_degrees_reproduces_the_recorded_vectors(golden):
    vectors = golden("snamd")
    (parts,) = zip(*(aggregate(layer, (1, 3, 5), "similarity") for layer in recorded_layers(vectors)), strict=True)
    found = torch.stack(parts, dim=3).flatten(1, 2)
    torch.testing.assert_close(found, vectors["out.r135.features"], **EXACT)
    torch.testing.assert_close(F.normalize(found, dim=-1), vectors["out.normalised_features"], **EXACT)
    torch.testing.assert_close(found.half(), vectors["out.r135.features_f16"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("similar", [False, True])
@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("grid", [(4, 5), (1, 2)])
def test_equals_a_loop_over_neighbours(generator, grid, side, similar):
    tokens = torch.randn(2, *grid, 6, generator=generator)
    found = (neighbourhood_similarity if similar else neighbourhood_mean)(tokens, side)
    np.testing.assert_allclose(found, looped(tokens, side, similar=similar), atol=1e-5)


def test_each_mean_is_compared_separately(generator):
    tokens = torch.randn(2, 4, 5, 6, generator=generator)
    found = aggregate(tokens, (1, 3), "mean")
    assert torch.equal(found[0], tokens)
    torch.testing.assert_close(found[1], neighbourhood_mean(tokens, 3))


@pytest.mark.parametrize(("sides", "match"), [((), "odd sides"), ((2,), r"got \[2\]"), ((0,), "odd"), ("13", "list")])
def test_other_sides_are_refused(sides, match):
    with pytest.raises(ValueError, match=match):
        check_sides("neighbourhood", sides)

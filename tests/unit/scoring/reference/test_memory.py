"""Distances to a memory of patches, against the recorded vectors of AnomalyDINO's released code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import gaussian_filter

from dualclip_lightning.scoring import DRAWINGS, draw, largest_mean, memory_distances, pooled_distances

CLOSE = {"atol": 1e-5, "rtol": 0}


def unit(patches):
    return F.normalize(patches, dim=-1)


@pytest.mark.parametrize(("prefix", "neighbours"), [("out.", 1), ("out.knn3.", 3)])
def test_distances_to_normal_images_are_the_recorded_ones(golden, prefix, neighbours):
    vectors = golden("anomalydino")
    memory = unit(vectors["in.references"]).flatten(0, 1)
    found = memory_distances(unit(vectors["in.queries"]).flatten(0, 1), memory, neighbours).unflatten(0, (3, 300))
    torch.testing.assert_close(found, vectors[f"{prefix}distances"].flatten(1).float(), **CLOSE)
    torch.testing.assert_close(largest_mean(found, 0.01), vectors[f"{prefix}image_score"].float(), **CLOSE)


def test_the_drawing_is_the_recorded_one(golden):
    vectors = golden("anomalydino")
    height, width = vectors["in.map_size"].tolist()
    drawn = draw(vectors["out.distances"], (height, width), DRAWINGS["anomalydino"])
    torch.testing.assert_close(drawn, vectors["out.map"].float(), **CLOSE)


def test_distances_to_all_other_images_are_the_recorded_ones(golden):
    vectors = golden("anomalydino")
    images = unit(vectors["in.batch"])
    found = torch.stack(
        [pooled_distances(own, torch.cat([images[:i], images[i + 1 :]]).flatten(0, 1)) for i, own in enumerate(images)]
    )
    torch.testing.assert_close(found, vectors["out.batched.distances"], **CLOSE)
    torch.testing.assert_close(largest_mean(found, 0.01), vectors["out.batched.image_score"].float(), **CLOSE)


def test_a_small_pool_gives_the_nearest_patch(generator):
    queries, pool = unit(torch.randn(5, 8, generator=generator)), unit(torch.randn(20, 8, generator=generator))
    torch.testing.assert_close(pooled_distances(queries, pool), (1 - queries @ pool.T).amin(dim=1), **CLOSE)


def test_more_queries_than_fit_at_once_give_the_same(generator):
    queries, memory = unit(torch.randn(2500, 8, generator=generator)), unit(torch.randn(9, 8, generator=generator))
    torch.testing.assert_close(memory_distances(queries, memory), (1 - queries @ memory.T).amin(dim=1), **CLOSE)


def test_an_empty_memory_is_refused():
    with pytest.raises(ValueError, match="at least one patch in the memory"):
        memory_distances(torch.ones(1, 4), torch.ones(0, 4))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="share"):
        pooled_distances(torch.ones(1, 4), torch.ones(2, 4), share)


def test_subspace_maps_are_drawn_as_recorded(golden):
    vectors = golden("subspace")
    height, width = vectors["in.map_size"].tolist()
    for prefix in ("out.", "out.zero_shot."):
        drawn = draw(vectors[f"{prefix}residual"], (height, width), DRAWINGS["subspacead"])
        torch.testing.assert_close(drawn, vectors[f"{prefix}map"], atol=1e-5, rtol=1e-6)
        expected = vectors[f"{prefix}image_score"].float()
        torch.testing.assert_close(largest_mean(drawn.flatten(1), 0.01), expected, atol=1e-5, rtol=1e-6)


def test_a_radius_cuts_the_gaussian(generator):
    maps = torch.rand(1, 40, 40, generator=generator)
    drawn = draw(maps, (40, 40), DRAWINGS["subspacead"])
    expected = gaussian_filter(maps[0].double().numpy(), sigma=4, radius=1, mode="mirror")
    torch.testing.assert_close(drawn[0].double(), torch.from_numpy(expected), **CLOSE)

"""The program of MuSc-V2 from tokens to image scores, by the functions of this package, against its recorded values."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.scoring import DRAWINGS, draw, rscin
from dualclip_lightning.scoring.reference.nearest import nearest_distances
from dualclip_lightning.scoring.reference.neighbourhood import aggregate

EXACT = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def vectors(golden):
    return golden("snamd")


def features(vectors):
    """Return the unit vectors [N, P, C] of each layer, aggregated over neighbourhoods of 1, 3 and 5."""
    layers = [vectors[f"in.layer{i}"][:, 1:].unflatten(1, (6, 6)) for i in range(3)]
    found = [aggregate(layer, [1, 3, 5], "similarity")[0] for layer in layers]
    return [F.normalize(each, dim=-1).flatten(1, 2) for each in found]


def mutual(layer):
    """Return the mean Euclidean distance [N, P] of every patch to the nearest two of seven other images."""
    scores = []
    for i in range(len(layer)):
        others = [layer[j : j + 1] for j in range(len(layer)) if j != i]
        distances = (2 * nearest_distances(layer[i : i + 1], others)).sqrt()  # of unit vectors, from their cosine
        scores.append(distances.topk(2, dim=1, largest=False).values.mean(dim=1)[0])
    return torch.stack(scores)


def test_distances_to_the_nearest_patches_of_the_other_images_are_the_recorded_ones(vectors):
    found = torch.stack([mutual(layer) for layer in features(vectors)])
    torch.testing.assert_close(found, vectors["out.msm_layers"], **EXACT)
    torch.testing.assert_close(found.mean(dim=0), vectors["out.msm"], **EXACT)


def test_the_map_and_its_maximum_are_the_recorded_ones(vectors):
    drawn = draw(vectors["out.msm"].unflatten(1, (6, 6)), tuple(vectors["in.map_size"].tolist()), DRAWINGS["musc"])
    torch.testing.assert_close(drawn, vectors["out.map"], **EXACT)
    torch.testing.assert_close(drawn.flatten(1).amax(dim=1), vectors["out.image_score_max"], **EXACT)


def test_scores_smoothed_over_images_of_similar_salient_patches_are_the_recorded_ones(vectors):
    most_anomalous = vectors["out.msm"].argmax(dim=1)
    salient = features(vectors)[-2][torch.arange(8), most_anomalous]
    torch.testing.assert_close(salient, vectors["out.salient_features"], **EXACT)
    smoothed = rscin(vectors["out.image_score_max"], salient, k=[1, 7], rescale=True)
    torch.testing.assert_close(smoothed, vectors["out.image_score_rscon"], **EXACT)

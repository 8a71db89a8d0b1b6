"""The comparison with references, compared with scikit-learn and with loops over every patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_distances

from dualclip_lightning.scoring import ReferenceScoring, mutual_scores, reference_score, rscin

EXACT = {"atol": 1e-5, "rtol": 0}


def random_layers(generator, count=3, grid=(3, 4), channels=(6, 9)) -> list[torch.Tensor]:
    return [torch.randn(count, *grid, c, generator=generator) for c in channels]


def compare(scoring: ReferenceScoring, layers, references, near=None) -> torch.Tensor:
    """Compute scores of all images with the same references, which are lists of layers like the images."""
    queries = scoring.descriptors(layers)
    described = [scoring.descriptors(reference) for reference in references]
    fitted = scoring.fit([[each.flatten(1, 2) for each in kind] for kind in zip(*described, strict=True)])
    return scoring.score(queries, fitted, near)


def pooled(tokens: np.ndarray, side: int) -> np.ndarray:
    """Compute sums over neighbourhoods, which have the direction of the mean."""
    around = np.pad(tokens, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    rows, columns = tokens.shape[:2]
    return sum(around[i : i + rows, j : j + columns] for i in range(side) for j in range(side))


def by_scikit_learn(layers, references, sides, join) -> np.ndarray:
    maps = []
    for place, layer in enumerate(layers):
        for side in sides:
            for image, values in enumerate(layer.numpy()):
                own = pooled(values, side).reshape(-1, values.shape[-1])
                others = [pooled(r[place][image].numpy(), side).reshape(-1, values.shape[-1]) for r in references]
                distances = np.stack([cosine_distances(own, other).min(axis=1) for other in others])
                maps.append(join(np.clip(distances, 0, 1)))
    found = np.stack(maps).reshape(len(layers) * len(sides), len(layers[0]), *layers[0].shape[1:3])
    return found.mean(axis=0)


@pytest.mark.parametrize("count", [1, 2, 5, 7])
@pytest.mark.parametrize("sides", [(1,), (1, 3)])
@pytest.mark.parametrize(("fusion", "kept"), [("mean", 1.0), ("lowest", 0.0), ("lowest", 0.3), ("lowest", 0.6)])
def test_joins_layers_neighbourhoods_and_references(generator, count, sides, fusion, kept):
    layers, references = random_layers(generator), [random_layers(generator) for _ in range(count)]
    scoring = ReferenceScoring(layers=(0.5, 1.0), neighbourhood=sides, fusion=fusion, lowest=kept)
    share = max(1, int(count * kept))
    expected = by_scikit_learn(layers, references, sides, lambda d: np.sort(d, axis=0)[:share].mean(axis=0))
    np.testing.assert_allclose(compare(scoring, layers, references), expected, atol=1e-5)


def test_the_defaults_are_the_papers_exactly(generator):
    (layer,) = random_layers(generator, channels=(8,))
    references = torch.randn(3, 4, 3, 4, 8, generator=generator)
    found = compare(ReferenceScoring(), [layer], [[each] for each in references.unbind(1)])
    assert torch.equal(found, reference_score(layer, references))


def test_the_lowest_share_survives_an_anomalous_reference(generator):
    (layer,) = random_layers(generator, channels=(8,))
    strange = torch.randn(3, 3, 4, 8, generator=generator)
    both = compare(ReferenceScoring(fusion="lowest"), [layer], [[strange], [layer]])
    assert both.max() < 1e-5
    assert compare(ReferenceScoring(), [layer], [[strange], [layer]]).min() > 1e-3


def test_a_subspace_is_that_of_all_references_of_an_image(generator):
    (layer,), references = random_layers(generator, channels=(8,)), [random_layers(generator, channels=(8,))] * 2
    found = compare(ReferenceScoring(fusion="subspace", explained_variance=0.8), [layer], references)
    for image in range(3):
        normal = torch.cat([F.normalize(r[0][image], dim=-1).flatten(0, 1) for r in references]).double().numpy()
        own = F.normalize(layer[image], dim=-1).flatten(0, 1).double().numpy()
        peer = PCA(0.8, svd_solver="full").fit(normal)
        left = own - peer.inverse_transform(peer.transform(own))
        np.testing.assert_allclose(found[image].flatten(), (left**2).sum(1).clip(0, 2) / 2, atol=1e-5)


def test_half_the_residual_of_one_repeated_patch_is_one_minus_its_cosine(generator):
    query, normal = torch.randn(1, 1, 1, 8, generator=generator), torch.randn(1, 1, 1, 8, generator=generator)
    subspace = compare(ReferenceScoring(fusion="subspace"), [query], [[normal]])
    torch.testing.assert_close(subspace, compare(ReferenceScoring(), [query], [[normal]]), **EXACT)


@pytest.mark.parametrize("fusion", ["mean", "lowest", "subspace"])
@pytest.mark.parametrize("weighting", ["mean", "similarity"])
def test_scores_stay_in_0_1_for_opposite_patches(generator, fusion, weighting):
    layers = random_layers(generator)
    scoring = ReferenceScoring(neighbourhood=(1, 3), weighting=weighting, fusion=fusion)
    found = compare(scoring, layers, [[-layer for layer in layers]])
    assert found.isfinite().all()
    assert ((found >= 0) & (found <= 1)).all()


def test_similar_neighbours_give_one_descriptor_per_layer(generator):
    layers = random_layers(generator)
    assert len(ReferenceScoring(neighbourhood=(1, 3)).descriptors(layers)) == 4
    assert len(ReferenceScoring(neighbourhood=(1, 3), weighting="similarity").descriptors(layers)) == 2


def test_the_rule_of_musc_gives_the_order_of_musc(generator):
    """For unit vectors, Euclidean distance and eq. 5 give the same order; MuSc also centres each image first."""
    layer = torch.randn(4, 3, 3, 16, generator=generator)
    layer = (layer - layer.mean(dim=(1, 2, 3), keepdim=True)) / layer.std(dim=(1, 2, 3), keepdim=True)
    scoring = ReferenceScoring(neighbourhood=(3,), fusion="lowest")
    others = [[layer[[j for j in range(4) if j != i]][k : k + 1] for k in range(3)] for i in range(4)]
    found = torch.cat([compare(scoring, [layer[i : i + 1]], [[r] for r in others[i]]) for i in range(4)])
    torch.testing.assert_close((2 * found).sqrt(), mutual_scores([layer], (3,)), atol=1e-4, rtol=0)


def test_rotations_belong_to_their_reference(generator):
    images = torch.randn(1, 3, 2, 4, generator=generator)
    encode = lambda pixels: [pixels.permute(0, 2, 3, 1)]  # noqa: E731 - a patch is a pixel
    scoring = ReferenceScoring(rotations=True, neighbourhood=(1, 3))
    own = scoring.descriptors(encode(images))
    found = scoring.as_reference(images, own, encode)
    assert [each.shape for each in found] == [(1, 32, 3)] * 2
    for turned in (np.rot90(images.numpy(), times, (2, 3)).copy() for times in range(4)):
        queries = scoring.descriptors(encode(torch.from_numpy(turned)))
        assert scoring.score(queries, scoring.fit([[each] for each in found])).max() < 1e-5
    alone = ReferenceScoring(neighbourhood=(1, 3)).as_reference(images, own, encode)
    assert [each.shape for each in alone] == [(1, 8, 3)] * 2


def test_the_class_score_is_smoothed_over_the_references(generator):
    scores, embeddings = torch.rand(5, generator=generator), torch.randn(5, 8, generator=generator)
    batch = torch.stack([scores, scores.flip(0)]), torch.stack([embeddings, embeddings.flip(0)])
    assert torch.equal(ReferenceScoring().class_scores(*batch), batch[0][:, 0])
    found = ReferenceScoring(class_neighbours=[1, 3]).class_scores(*batch)
    found = found[0]
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    cosines = (unit @ unit[0]).tolist()
    near = [0, *sorted(range(1, 5), key=lambda i: -cosines[i])[:2]]
    weights = [max(cosines[i], 0) for i in near]
    smoothed = sum(w * float(scores[i]) for w, i in zip(weights, near, strict=True)) / sum(weights)
    assert found.item() == pytest.approx((float(scores[0]) + smoothed) / 2, abs=1e-5)
    torch.testing.assert_close(found, rscin(scores, unit, [1, 3])[0])


def test_a_subspace_ignores_places(generator):
    layers = random_layers(generator)
    with pytest.raises(ValueError, match="Leave spatial_window out"):
        compare(ReferenceScoring(fusion="subspace"), layers, [layers], [torch.ones(12, 12, dtype=torch.bool)])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"layers": []}, r"depths in \(0, 1\] such as"),
        ({"layers": [0.0, 1.0]}, "reference_layers to be depths"),
        ({"layers": [3, 6]}, "shares of the tower's blocks, but got"),
        ({"layers": 0.5}, "reference_layers"),
        ({"layers": ["last"]}, "reference_layers"),
        ({"path": "q"}, "reference_path to be 'vv', 'ordinary' or 'stem'"),
        ({"path": "stem", "layers": [0.5, 1.0]}, "reference_path 'stem' has no reference_layers. Leave"),
        ({"path": "stem", "neighbourhood": [1, 3]}, "reference_path 'stem' has no neighbourhood. Leave"),
        ({"neighbourhood": [2]}, "neighbourhood to be odd sides"),
        ({"neighbourhood": 3}, "neighbourhood to be a list"),
        ({"weighting": "max"}, "neighbourhood_weighting to be 'mean' or 'similarity'"),
        ({"fusion": "median"}, "reference_fusion to be 'mean', 'lowest' or 'subspace'"),
        ({"lowest": 1.2}, r"lowest to be in \[0, 1\]"),
        ({"explained_variance": 1}, r"explained_variance to be in \(0, 1\)"),
        ({"rotations": "yes"}, "reference_rotations to be True or False"),
        ({"class_neighbours": [0]}, "at least 1"),
        ({"class_neighbours": 3}, "class_neighbours to be a list"),
    ],
)  # fmt: skip
def test_invalid_settings_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        ReferenceScoring(**arguments)

"""SubspaceAD and PatchMemory, against scikit-learn and against distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import nn
from torchvision.transforms.v2.functional import rotate

from dualclip_lightning import PatchMemory, SubspaceAD
from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.memory import PatchMemoryModel, SubspaceModel
from dualclip_lightning.models.memory.features import MeanLayerEncoder, rotations
from dualclip_lightning.models.memory.subspace_ad import middle_layers, random_angles
from dualclip_lightning.pairing import ImageSet
from dualclip_lightning.scoring import MapDrawing
from tests.towers import random_images

PLAIN = MapDrawing()


class Cells(nn.Module):
    """Patches of 8x8 pixels: mean and standard deviation of each channel, and a constant."""

    def forward(self, images):
        cells = images.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).permute(0, 2, 3, 1, 4)
        return torch.cat([cells.mean(-1), cells.std(-1), torch.ones_like(cells[..., 0, :1])], dim=-1)


def patches(images):
    return Cells()(images).flatten(0, 2).double().numpy()


def residuals(queries, normal, share=0.9):
    """Return the squared distances in units of the variance, by scikit-learn."""
    pca = PCA(n_components=share, svd_solver="full").fit(normal)
    left = queries - pca.inverse_transform(pca.transform(queries))
    return (left**2).sum(axis=1) / normal.var(axis=0, ddof=1).sum()


def test_a_subspace_of_normal_images_gives_the_residuals_of_scikit_learn():
    model = SubspaceModel(Cells(), 0.9, drawing=PLAIN)
    normal, images = random_images(3, 32, 48), random_images(2, 32, 48, seed=9)
    model.set_references(normal)
    found = model(images)
    expected = residuals(patches(images), patches(normal)).reshape(2, 4, 6)
    drawn = torch.nn.functional.interpolate(torch.from_numpy(expected)[None], (32, 48), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(found.anomaly_map.numpy(), drawn / (1 + drawn), atol=1e-5)
    largest = np.sort(drawn.reshape(2, -1))[:, -15:].mean(axis=1)  # 1 % of 1,536 pixels
    np.testing.assert_allclose(found.pred_score.numpy(), largest / (1 + largest), atol=1e-5)


def test_without_normal_images_the_subspace_is_that_of_the_set():
    model, images = SubspaceModel(Cells(), 0.9, drawing=PLAIN), random_images(5, 32, 32)
    found = model.predict_sets([ImageSet(5, images.split(2))]).maps
    np.testing.assert_allclose(found.flatten().numpy(), residuals(patches(images), patches(images)), atol=1e-5)


def test_rotations_of_normal_images_are_part_of_the_subspace():
    model, normal = SubspaceModel(Cells(), 0.9, [37.0], fill=(0.1, 0.2, 0.3), drawing=PLAIN), random_images(2, 32, 32)
    model.set_references(normal)
    turned = rotate(normal, 37.0, interpolation=2, fill=[0.1, 0.2, 0.3])
    expected = residuals(patches(normal), np.concatenate([patches(normal), patches(turned)]))
    found = model(normal).anomaly_map
    model.angles = ()
    model.set_references(normal)
    assert not torch.allclose(model(normal).anomaly_map, found)
    drawn = torch.nn.functional.interpolate(torch.from_numpy(expected.reshape(1, 2, 4, 4)), (32, 32), mode="bilinear")[
        0
    ].numpy()
    np.testing.assert_allclose(found.numpy(), drawn / (1 + drawn), atol=1e-5)


@pytest.mark.parametrize(("depth", "layers"), [(40, range(23, 30)), (24, range(14, 18)), (12, range(7, 10)), (1, [1])])
def test_middle_layers_are_those_of_the_published_depths(depth, layers):
    assert middle_layers(depth) == tuple(layers)


def test_angles_depend_on_the_seed():
    assert random_angles(4, 1) == random_angles(4, 1) != random_angles(4, 2)
    assert all(0 <= angle < 345 for angle in random_angles(50, 0))


def cosine_distances(queries, memory, neighbours=1):
    search = NearestNeighbors(n_neighbors=neighbours, metric="cosine").fit(memory)
    return search.kneighbors(queries)[0].mean(axis=1) / 2


@pytest.mark.parametrize("neighbours", [1, 3])
def test_a_memory_gives_the_distances_of_scikit_learn(neighbours):
    model = PatchMemoryModel(Cells(), neighbours, drawing=PLAIN)
    normal, images = random_images(3, 32, 32), random_images(2, 32, 32, seed=9)
    model.set_references(normal)
    found = model(images)
    expected = cosine_distances(patches(images), patches(normal), neighbours).reshape(2, 16)
    np.testing.assert_allclose(found.pred_score.numpy(), expected.max(axis=1), atol=1e-5)
    drawn = torch.nn.functional.interpolate(torch.from_numpy(expected.reshape(1, 2, 4, 4)), (32, 32), mode="bilinear")[
        0
    ].numpy()
    np.testing.assert_allclose(found.anomaly_map.numpy(), drawn, atol=1e-5)


def test_an_image_is_not_compared_with_itself():
    model, images = PatchMemoryModel(Cells(), angles=[90.0], drawing=PLAIN), random_images(3, 32, 32)
    model.set_references(images, ["a.png", "b.png", "c.png"])
    own = model(images[:1], ["a.png"]).anomaly_map
    model.set_references(images[1:], ["b.png", "c.png"])
    torch.testing.assert_close(model(images[:1], ["x.png"]).anomaly_map, own)
    assert own.max() > 0


def test_without_normal_images_every_image_is_compared_with_all_others():
    model, images = PatchMemoryModel(Cells(), drawing=PLAIN), random_images(4, 32, 32)
    found = model.predict_sets([ImageSet(4, images.split(3))]).maps.flatten(1)
    for row in range(4):
        others = patches(torch.cat([images[:row], images[row + 1 :]]))
        expected = cosine_distances(patches(images[row : row + 1]), others)
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-5)


def test_a_single_image_without_normal_images_scores_zero():
    found = PatchMemoryModel(Cells(), drawing=PLAIN)(random_images(1, 32, 32))
    assert found.pred_score.tolist() == [0.0]


def test_mirrored_rotations_keep_the_middle_and_have_no_empty_corners():
    images = random_images(1, 32, 48) + 5
    _, quarter, slanted = rotations(images, [180.0, 45.0])
    torch.testing.assert_close(quarter, images.flip(2, 3), atol=1e-4, rtol=0)
    assert slanted.shape == images.shape
    assert slanted.min() >= images.min() - 1e-4


def test_the_features_are_the_mean_of_the_layers():
    class Layers(nn.Module):
        def forward(self, _):
            return type("Read", (), {"layers": (torch.ones(1, 2, 2, 3), 3 * torch.ones(1, 2, 2, 3))})

    torch.testing.assert_close(MeanLayerEncoder(Layers())(torch.zeros(1)), 2 * torch.ones(1, 2, 2, 3))


@pytest.mark.parametrize("method_class", [SubspaceAD, PatchMemory])
def test_kinds(method_class, tiny_folder, tmp_path):
    assert method_class(pretrained=str(tiny_folder)).kind == Kind.TRANSDUCTIVE
    few = method_class(pretrained=str(tiny_folder), k_shot=2, reference_dir=tmp_path)
    assert few.kind == Kind.FEW_SHOT


@pytest.mark.parametrize("method_class", [SubspaceAD, PatchMemory])
def test_methods_run_on_a_tower_of_timm(method_class):
    method = method_class(backbone="timm:test_vit", pretrained="random")
    found = method.model(random_images(2, 160, 160))
    assert found.anomaly_map.shape == (2, 160, 160)
    assert len(set(found.pred_score.tolist())) == 2

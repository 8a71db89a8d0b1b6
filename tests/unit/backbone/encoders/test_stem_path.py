"""CLIP's own stem as layers, against the feature maps of timm's whole network and the encoder without it."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch

from dualclip_lightning import DualImageCLIP
from dualclip_lightning.backbone import DualPathVisionEncoder, StemPathEncoder, load_backbone
from dualclip_lightning.backbone.encoders.stem_path import by_patch
from tests.towers import STEM, random_images, stem_folder, tower


@pytest.fixture(scope="module")
def visual():
    visual = load_backbone(pretrained=str(stem_folder())).visual
    visual.conv1[0].mean.normal_(generator=torch.Generator().manual_seed(0))
    visual.conv1[0].std.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    return visual


@torch.no_grad()
def test_layers_are_the_standardised_maps_of_the_network(visual):
    images = random_images(2, 32, 48)
    features = visual.conv1[0]
    whole = timm.create_model(STEM["model"], pretrained=False).eval()
    whole.load_state_dict(features.network.state_dict(), strict=False)
    maps = whole.forward_intermediates(images, indices=STEM["stages"], intermediates_only=True)
    layers = StemPathEncoder(visual)(images).layers
    assert [layer.shape for layer in layers] == [(2, 2, 3, 4, 32), (2, 2, 3, 1, 48)]
    first = 0
    for layer, raw, side in zip(layers, maps, (2, 1), strict=True):
        channels = slice(first, first + raw.shape[1])
        first += raw.shape[1]
        seen = ((raw - features.mean[channels]) / features.std[channels]).numpy()
        for image, row, column, place in np.ndindex(layer.shape[:4]):
            fine = seen[image, :, row * side + place // side, column * side + place % side]
            np.testing.assert_allclose(layer[image, row, column, place], fine, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_embeddings_are_those_without_the_stems_maps(visual):
    images = random_images(3, 48, 32)
    found, expected = StemPathEncoder(visual, [2, 3])(images), DualPathVisionEncoder(visual, [2, 3])(images)
    assert torch.equal(found.class_embedding, expected.class_embedding)
    assert torch.equal(found.patch_embeddings, expected.patch_embeddings)
    assert torch.equal(StemPathEncoder(visual, [2, 3]).patch_embeddings(images), expected.patch_embeddings)


@torch.no_grad()
def test_the_stem_is_run_once(visual, monkeypatch):
    calls = []
    maps = visual.conv1[0].maps
    monkeypatch.setattr(visual.conv1[0], "maps", lambda images: calls.append(len(images)) or maps(images))
    StemPathEncoder(visual)(random_images(2))
    assert calls == [2]


def test_places_of_a_patch_are_listed_row_by_row():
    pixels = torch.arange(24.0).view(1, 1, 4, 6)
    assert by_patch(pixels, (2, 3))[0, :, :, :, 0].tolist() == [
        [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]],
        [[12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]],
    ]


def test_a_tower_without_a_stem_is_refused(tiny_folder):
    match = r"'stem' compares the maps of a convolutional stem, which this tower does not have\. Set reference_path to"
    with pytest.raises(ValueError, match=match):
        StemPathEncoder(tower())
    with pytest.raises(ValueError, match=match):
        DualImageCLIP(pretrained=str(tiny_folder), reference_path="stem")


def test_a_side_that_is_no_multiple_of_the_patch_is_refused(visual):
    with pytest.raises(ValueError, match="does not divide into 16x16 patches"):
        StemPathEncoder(visual)(random_images(1, 48, 40))


def test_the_choice_is_in_the_provenance():
    method = DualImageCLIP(pretrained=str(stem_folder()), reference_path="stem", visualizer=False)
    assert method.provenance()["parameters"]["reference_path"] == "stem"

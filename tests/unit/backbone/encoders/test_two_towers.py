"""CLIP with another tower for references, against both towers by themselves."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from dualclip_lightning import DualImageCLIP
from dualclip_lightning.backbone import (
    DualPathVisionEncoder,
    Preprocessing,
    intermediate_encoder,
    load_backbone,
    load_reference_backbone,
    reference_encoder,
)
from dualclip_lightning.weights import WeightsError
from tests.towers import random_images, tower

PIXELS = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bicubic", (48, 48))


@pytest.fixture
def other(tmp_path):
    """A tower of timm with patches of 14 pixels and 2 registers, as a folder of weights."""
    arguments = {"img_size": 56, "patch_size": 14, "embed_dim": 32, "depth": 4, "num_heads": 2, "reg_tokens": 2}
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=0, **arguments)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    stated = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "interpolation": "bicubic", "input_size": [3, 56, 56],
              "num_classes": 0}  # fmt: skip
    config = {"architecture": "test_vit", "num_classes": 0, "model_args": arguments, "pretrained_cfg": stated}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return load_backbone(f"timm:local-dir:{tmp_path}")


@torch.no_grad()
def test_the_other_tower_gets_as_many_patches_in_its_own_normalisation(other):
    photo = torch.rand(2, 3, 48, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (PIXELS.mean, PIXELS.std))
    features = reference_encoder(tower(), None, [0.5, 1.0], "ordinary", PIXELS, other)((photo - mean) / std)
    theirs = (torch.tensor(values)[:, None, None] for values in (other.preprocessing.mean, other.preprocessing.std))
    small = resize(photo, [42, 28], InterpolationMode.BICUBIC)  # 3 x 2 patches of 14 pixels
    mean, std = theirs
    expected = intermediate_encoder(other.visual, [2, 4])((small - mean) / std)
    for ours, layer in zip(features.layers, expected.layers, strict=True):
        assert ours.shape == (2, 3, 2, 32)
        torch.testing.assert_close(ours, layer, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_embeddings_for_texts_are_those_of_clip_by_itself(other):
    visual, images = tower(), random_images(2)
    both = reference_encoder(visual, None, [1.0], "ordinary", PIXELS, other)
    alone = DualPathVisionEncoder(visual)(images)
    assert torch.equal(both(images).class_embedding, alone.class_embedding)
    assert torch.equal(both(images).patch_embeddings, alone.patch_embeddings)
    assert torch.equal(both.patch_embeddings(images), alone.patch_embeddings)


def test_without_another_tower_the_encoder_is_that_of_clip():
    none = load_reference_backbone(None, "random", 0)
    encoder = reference_encoder(tower(), [2, 3], [0.5, 1.0], "ordinary", PIXELS, none)
    assert isinstance(encoder, DualPathVisionEncoder)
    assert (encoder.vv_blocks, encoder.layers, encoder.path) == ({2, 3}, (2, 3), "ordinary")


@torch.no_grad()
def test_another_clip_may_be_the_other_tower(tiny_folder):
    arguments = {"pretrained": str(tiny_folder), "reference_path": "ordinary", "class_name": "screw"}
    same = DualImageCLIP(**arguments, reference_backbone="ViT-B-32", reference_pretrained=str(tiny_folder))
    own = DualImageCLIP(**arguments)
    for method in (same, own):
        method.set_class_name("screw")
    images = random_images(4)
    torch.testing.assert_close(same.model(images).anomaly_map, own.model(images).anomaly_map, atol=1e-5, rtol=0)


def test_the_other_tower_is_in_the_provenance(tiny_folder, other):
    folder = other.origin["path"]
    method = DualImageCLIP(
        pretrained=str(tiny_folder), reference_path="ordinary", reference_backbone=f"timm:local-dir:{folder}"
    )
    assert method.provenance()["reference_backbone"]["weights_sha256"] == other.digest
    assert method.provenance()["weights_sha256"] == method.backbone.digest != other.digest


def test_the_v_v_path_of_another_tower_is_refused(tiny_folder):
    with pytest.raises(ValueError, match=r"V-V path is that of CLIP\. Set reference_path to 'ordinary'"):
        DualImageCLIP(pretrained=str(tiny_folder), reference_backbone="timm:test_vit")


@pytest.mark.parametrize(
    ("name", "weights", "error", "words"),
    [
        ("timm:test_vitt", "random", ValueError, "reference_backbone 'timm:test_vitt'.*Did you mean test_vit"),
        ("timm:test_vit", "laion400m_e32", WeightsError, "reference_backbone 'timm:test_vit'.*Cannot fetch"),
    ],
)
def test_a_tower_that_cannot_be_loaded_is_named_by_its_argument(name, weights, error, words):
    with pytest.raises(error, match=words):
        load_reference_backbone(name, weights, 0)

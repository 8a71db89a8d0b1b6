"""Networks of timm in stages, compared with the maps recorded by hooks on their stages and pooled by hand."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from timm.models.mlp_mixer import MlpMixer

from dualclip_lightning import DualImageCLIP, MuSc, PatchMemory, SubspaceAD
from dualclip_lightning.backbone import (
    DualPathVisionEncoder,
    Preprocessing,
    TwoTowerEncoder,
    intermediate_encoder,
    load_backbone,
    reference_encoder,
)
from dualclip_lightning.backbone.encoders.stage_tower import StageTower, timm_tower
from dualclip_lightning.backbone.encoders.timm_tower import TimmTower
from dualclip_lightning.models.memory.features import MeanLayerEncoder
from tests.towers import random_images, tower

EXACT = {"atol": 1e-5, "rtol": 1e-5}
PIXELS = Preprocessing((0.4, 0.4, 0.4), (0.3, 0.3, 0.3), "bilinear", (48, 48))
SMALL_SWIN = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}


def network(name="test_resnet", **changes):
    """Return a small network of timm with random weights and random statistics of its normalisations."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **changes)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return model.eval()


def hooked(model, images):
    """Return the maps [B, C, h, w] of all stages and the output of a network."""
    seen = []
    modules = [model.get_submodule(stage["module"]) for stage in model.feature_info]
    hooks = [module.register_forward_hook(lambda *given: seen.append(given[-1].clone())) for module in modules]
    output = model(images)
    for hook in hooks:
        hook.remove()
    return seen, output


def near_mean(maps):
    """Average maps over the 3x3 neighbours that exist."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, [1, 1, 1, 1], value=torch.nan)
    shifted = [padded[..., down : down + height, right : right + width] for down in range(3) for right in range(3)]
    return torch.stack(shifted).nanmean(dim=0)


def bilinear(size, wanted):
    """Return the weights [wanted, size] of `size` values in `wanted` values between them."""
    places = ((torch.arange(wanted) + 0.5) * size / wanted - 0.5).clamp(0, size - 1)
    return (1 - (places[:, None] - torch.arange(size)).abs()).clamp_min(0)


def on_grid(maps, rows, columns):
    """Average or interpolate maps to a grid, by hand: [B, C, H, W] -> [B, h, w, C]."""
    maps = near_mean(maps)
    if maps.shape[-2] >= rows:
        maps = maps.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).mean(dim=(3, 5))
    else:
        maps = bilinear(maps.shape[-2], rows) @ maps @ bilinear(maps.shape[-1], columns).T
    return maps.permute(0, 2, 3, 1)


@torch.no_grad()
@pytest.mark.parametrize("size", [(160, 160), (80, 112)])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_tokens_are_the_maps_of_the_stages_averaged_and_brought_to_patches_of_16_pixels(name, size):
    model, images = network(name), torch.randn(2, 3, *size)
    maps, output = hooked(model, images)
    features = intermediate_encoder(StageTower(model), [1, 2, 3, 4, 5])(images)
    torch.testing.assert_close(features.class_embedding, output, **EXACT)
    assert len({layer.shape[-1] for layer in features.layers}) > 2
    for ours, each in zip(features.layers, maps, strict=True):
        torch.testing.assert_close(ours, on_grid(each, size[0] // 16, size[1] // 16), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_without_the_embedding_no_later_stage_is_computed(name):
    model, images = network(name), torch.rand(2, 3, 48, 64)
    usual, with_embedding = (intermediate_encoder(StageTower(model), embed=embed) for embed in (False, True))
    expected = with_embedding(images).layers
    last = model.get_submodule(model.feature_info[-1]["module"])
    last.register_forward_hook(lambda *_: pytest.fail("the last stage was computed"))
    found = usual(images)
    assert found.class_embedding.shape == (2, 0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found.layers, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "depth", "usual"),
    [("test_resnet", 5, (3, 4)), ("test_efficientnet", 5, (3, 4)), ("test_convnext", 4, (2, 3))],
)
def test_blocks_are_stages_of_which_those_of_strides_8_and_16_are_usual(name, depth, usual):
    read = timm_tower(timm.create_model(name, num_classes=0))
    assert (read.depth, read.usual_layers, read.only_size, read.patch_size) == (depth, usual, None, (16, 16))
    assert intermediate_encoder(read, default=lambda _: (depth,)).layers == usual
    with pytest.raises(ValueError, match=f"blocks from 1 to {depth}"):
        intermediate_encoder(read, [depth + 1])


def test_a_network_is_read_in_evaluation_mode():
    model = timm.create_model("test_resnet", num_classes=0)
    before = model.bn1.running_mean.clone()
    StageTower(model)
    assert torch.equal(model.bn1.running_mean, before)
    assert not model.training


@torch.no_grad()
def test_stages_are_concatenated_where_a_method_joins_layers():
    encoder = intermediate_encoder(StageTower(network()), [3, 4])
    images = torch.rand(2, 3, 48, 64)
    assert torch.equal(MeanLayerEncoder(encoder)(images), torch.cat(encoder(images).layers, dim=-1))


@torch.no_grad()
@pytest.mark.parametrize("method_class", [MuSc, PatchMemory, SubspaceAD])
def test_methods_without_texts_score_with_a_network_in_stages(method_class):
    method = method_class(backbone="timm:test_resnet", pretrained="random", image_size=(96, 64))
    found = method.model(random_images(3, 96, 64))
    assert found.anomaly_map.shape == (3, 96, 64)
    assert len(set(found.pred_score.tolist())) == 3
    encoder = method.model.encoder
    assert getattr(encoder, "encoder", encoder).layers == (3, 4)
    assert method.provenance()["backbone"] == "timm:test_resnet"


def test_images_that_do_not_divide_into_patches_are_refused():
    with pytest.raises(ValueError, match="100x100 pixels does not divide into 16x16 patches"):
        MuSc(backbone="timm:test_resnet", pretrained="random", image_size=100)


def test_a_network_that_takes_one_size_refuses_others():
    read = timm_tower(timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **SMALL_SWIN))
    assert (read.depth, read.usual_layers, read.only_size) == (4, (2, 3), (224, 224))
    with torch.no_grad():
        assert intermediate_encoder(read)(torch.rand(1, 3, 224, 224)).layers[1].shape == (1, 14, 14, 64)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (torch.nn.Conv2d(3, 8, 3), "Conv2d cannot be used: .*forward_intermediates"),
        (MlpMixer(num_blocks=1, embed_dim=16), r"MlpMixer cannot be used: .* \[14\] rows, but \[28, 14\]"),
    ],
)
def test_other_networks_are_refused_with_the_reason_and_usable_ones(model, words):
    with pytest.raises(ValueError, match=f"{words}.*'timm:vit_.*' or 'timm:wide_resnet50_2'"):
        timm_tower(model)


def test_a_plain_vision_transformer_is_read_as_before():
    read = timm_tower(timm.create_model("test_vit"))
    assert type(read) is TimmTower
    assert read.usual_layers is None


def test_the_digest_depends_on_the_statistics_of_normalisations():
    first, second = (load_backbone("timm:test_resnet", "random") for _ in range(2))
    assert first.digest == second.digest
    second.visual.model.bn1.running_mean[0] += 1
    del second.__dict__["digest"]
    assert first.digest != second.digest


@torch.no_grad()
def test_depths_of_a_reference_tower_are_shares_of_its_stages(caplog):
    other = load_backbone("timm:test_resnet", "random")
    photo = torch.rand(2, 3, 48, 32)
    caplog.clear()
    features = reference_encoder(tower(), None, [0.5, 0.75], "ordinary", PIXELS, other)((photo - 0.4) / 0.3)
    assert not caplog.messages
    mean, std = (torch.tensor(each)[:, None, None] for each in (other.preprocessing.mean, other.preprocessing.std))
    expected = intermediate_encoder(other.visual, [3, 4])((photo - mean) / std)
    for ours, layer in zip(features.layers, expected.layers, strict=True):
        assert ours.shape[1:3] == (3, 2)  # patches of 16 pixels, as CLIP has
        torch.testing.assert_close(ours, layer, atol=1e-4, rtol=1e-4)


def test_a_warning_says_that_the_last_stage_is_specific_to_its_training(caplog, tiny_folder):
    DualImageCLIP(
        pretrained=str(tiny_folder),
        reference_path="ordinary",
        reference_backbone="timm:test_resnet",
        reference_pretrained="random",
    )
    assert "only the last stage of 'timm:test_resnet'" in caplog.text


def test_a_reference_tower_of_one_size_refuses_images_of_another():
    other = timm_tower(timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **SMALL_SWIN))
    encoder = TwoTowerEncoder(DualPathVisionEncoder(tower()), intermediate_encoder(other), PIXELS, PIXELS)
    with pytest.raises(ValueError, match="takes only images of 224x224 pixels, but got 48x48"):
        encoder(torch.rand(1, 3, 48, 48))

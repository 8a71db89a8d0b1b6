"""Vision transformers of timm, compared with the tokens recorded by hooks on their blocks."""

from __future__ import annotations

import pytest
import timm
import torch

from dualclip_lightning import DualImageCLIP, MuSc
from dualclip_lightning.backbone import intermediate_encoder, load_backbone
from dualclip_lightning.backbone.encoders.timm_tower import TimmTower

EXACT = {"atol": 1e-5, "rtol": 1e-5}
REGISTERS = {"img_size": 56, "patch_size": 14, "embed_dim": 32, "depth": 4, "num_heads": 2, "reg_tokens": 3}


def model(**changes):
    """Return a small model with a class token, 3 register tokens and random weights."""
    torch.manual_seed(0)
    return timm.models.vision_transformer.VisionTransformer(
        **{**REGISTERS, "num_classes": 0, "dynamic_img_size": True, **changes}
    ).eval()


def hooked(vit, images):
    """Return the tokens [B, prefix + N, C] after every block, and the output of the model."""
    seen = []
    hooks = [block.register_forward_hook(lambda *given: seen.append(given[-1])) for block in vit.blocks]
    output = vit(images)
    for hook in hooks:
        hook.remove()
    return seen, output


@torch.no_grad()
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("size", [(56, 56), (28, 84)])
def test_patch_tokens_are_those_of_the_blocks_without_class_and_register_tokens(size, norm):
    vit, images = model(), torch.rand(2, 3, *size)
    seen, output = hooked(vit, images)
    features = intermediate_encoder(TimmTower(vit), [4, 2], norm)(images)
    torch.testing.assert_close(features.class_embedding, output, **EXACT)
    for ours, number in zip(features.layers, (2, 4), strict=True):
        tokens = vit.norm(seen[number - 1]) if norm else seen[number - 1]
        assert ours.shape == (2, size[0] // 14, size[1] // 14, 32)
        torch.testing.assert_close(ours.flatten(1, 2), tokens[:, 4:], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("norm", [True, False])
def test_without_the_embedding_no_later_block_is_computed(norm):
    vit, images = model(), torch.rand(2, 3, 56, 56)
    expected = intermediate_encoder(TimmTower(vit), [1, 3], norm)(images).layers
    vit.blocks[3].register_forward_hook(lambda *_: pytest.fail("the last block was computed"))
    found = intermediate_encoder(TimmTower(vit), [1, 3], norm, embed=False)(images)
    assert found.class_embedding.shape == (2, 0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found.layers, expected, strict=True))


@torch.no_grad()
def test_a_model_without_class_token_gives_its_pooled_embedding_and_all_patches():
    vit, images = model(class_token=False, reg_tokens=0, global_pool="avg"), torch.rand(2, 3, 56, 56)
    seen, output = hooked(vit, images)
    features = intermediate_encoder(TimmTower(vit), None, norm=False)(images)
    torch.testing.assert_close(features.class_embedding, output, **EXACT)
    torch.testing.assert_close(features.layers[-1].flatten(1, 2), seen[-1], **EXACT)
    assert len(features.layers) == 4


def test_layers_that_the_tower_lacks_are_refused():
    with pytest.raises(ValueError, match="blocks from 1 to 4"):
        intermediate_encoder(TimmTower(model()), [5])


def test_a_method_with_texts_refuses_a_tower_without_them():
    with pytest.raises(ValueError, match="compares images with texts, and a model of timm has none"):
        DualImageCLIP(backbone="timm:test_vit", pretrained="random")


@torch.no_grad()
def test_musc_scores_with_a_model_of_timm():
    method = MuSc(backbone="timm:test_vit", pretrained="random", image_size=(160, 96))
    found = method.model(torch.rand(3, 3, 160, 96))
    assert found.anomaly_map.shape == (3, 160, 96)
    assert bool(((found.anomaly_map >= 0) & (found.anomaly_map <= 1)).all())
    assert method.provenance()["backbone"] == "timm:test_vit"


def test_images_that_do_not_divide_into_patches_are_refused():
    with pytest.raises(ValueError, match=r"100x100 pixels does not divide into 16x16 patches"):
        MuSc(backbone="timm:test_vit", pretrained="random", image_size=100)


@pytest.mark.slow
def test_a_model_that_takes_one_size_refuses_others():
    with pytest.raises(ValueError, match="takes only images of 224x224 pixels, but got 448x448"):
        MuSc(backbone="timm:beit_base_patch16_224", pretrained="random", image_size=448)


@torch.no_grad()
def test_texts_are_refused_by_the_backbone():
    with pytest.raises(ValueError, match="has no text encoder"):
        load_backbone("timm:test_vit", "random").encode_text(["a photo"])

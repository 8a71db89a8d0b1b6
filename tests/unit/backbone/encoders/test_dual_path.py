from __future__ import annotations

from math import ceil

import pytest
import torch
from open_clip.model import resize_pos_embed
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import nn

from dualclip_lightning.backbone import DualPathVisionEncoder, IntermediateEncoder
from dualclip_lightning.backbone.encoders.layers import relative_blocks
from dualclip_lightning.backbone.encoders.tower import patch_grid, position_embedding
from tests.towers import random_images, tower

EXACT = {"atol": 1e-5, "rtol": 0}


def plain_vv_attention(attention: nn.MultiheadAttention, x: torch.Tensor) -> torch.Tensor:
    """Compute softmax(V V^T / sqrt(d)) V head by head, with the part of the packed projection for the values."""
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
    values = (x @ weight.T + bias).chunk(attention.num_heads, dim=-1)
    heads = [(v @ v.transpose(1, 2) / v.shape[-1] ** 0.5).softmax(dim=-1) @ v for v in values]
    return torch.cat(heads, dim=-1) @ attention.out_proj.weight.T + attention.out_proj.bias


def plain_dual_path(visual: VisionTransformer, images: torch.Tensor, blocks: set[int]) -> torch.Tensor:
    """Compute patch embeddings [B, N, D] with both streams in full, through open_clip's blocks, without resizing."""
    ordinary = stream = visual._embeds(images)
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        if number in blocks:
            stream = stream + block.ls_1(plain_vv_attention(block.attn, block.ln_1(ordinary)))
        ordinary = block(ordinary)
    stream = visual.ln_post(stream)[:, 1:]
    return stream if visual.proj is None else stream @ visual.proj


def resized(visual: VisionTransformer, height: int, width: int) -> VisionTransformer:
    """Return the same tower at another image size, with its position embedding interpolated by open_clip."""
    model = nn.Module()
    model.visual = tower((height, width))
    state = {f"visual.{name}": value.clone() for name, value in visual.state_dict().items()}
    resize_pos_embed(state, model)
    model.load_state_dict(state, strict=True)
    return model.visual


@torch.no_grad()
def test_reproduces_the_recorded_vectors_of_the_published_two_way_path(golden):
    vectors = golden("dual_path")
    visual = VisionTransformer(80, 16, 64, 12, 4, 4.0, output_dim=32).eval()
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in vectors.items() if k.startswith("visual.")})
    features = DualPathVisionEncoder(visual)(vectors["in.image"])
    assert features.patch_embeddings.shape == (3, 5, 5, 32)
    torch.testing.assert_close(features.class_embedding, vectors["out.class_embedding"], **EXACT)
    torch.testing.assert_close(features.patch_embeddings.flatten(1, 2), vectors["out.patch_embeddings"], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"ls_init_value": 0.3}, {"no_ln_pre": True}, {"final_ln_after_pool": True}])
@pytest.mark.parametrize("size", [(48, 48), (32, 80), (64, 64)])
def test_class_embedding_is_open_clips_own(changes, size):
    visual, images = tower(size, **changes), random_images(2, *size)
    torch.testing.assert_close(DualPathVisionEncoder(visual)(images).class_embedding, visual(images), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("blocks", [None, [1], [3], [1, 3], [3, 2]])
@pytest.mark.parametrize("size", [(48, 48), (32, 80)])
def test_patch_embeddings_equal_the_plain_two_streams(blocks, size):
    visual, images = tower(size), random_images(2, *size)
    patches = DualPathVisionEncoder(visual, blocks)(images).patch_embeddings
    assert patches.shape == (2, size[0] // 16, size[1] // 16, 32)
    expected = plain_dual_path(visual, images, {1, 2, 3} if blocks is None else set(blocks))
    torch.testing.assert_close(patches.flatten(1, 2), expected, **EXACT)


@torch.no_grad()
def test_layer_scale_counts_in_both_streams():
    visual, images = tower(ls_init_value=0.3), random_images(2)
    patches = DualPathVisionEncoder(visual)(images).patch_embeddings.flatten(1, 2)
    torch.testing.assert_close(patches, plain_dual_path(visual, images, {1, 2, 3}), **EXACT)


@torch.no_grad()
def test_without_projection_embeddings_have_the_towers_width():
    visual, images = tower(width=64, heads=4), random_images(2)
    visual.proj = None
    features = DualPathVisionEncoder(visual)(images)
    torch.testing.assert_close(features.class_embedding, visual(images), **EXACT)
    torch.testing.assert_close(
        features.patch_embeddings.flatten(1, 2), plain_dual_path(visual, images, {1, 2, 3}), **EXACT
    )
    assert features.patch_embeddings.shape[-1] == 64


@torch.no_grad()
@pytest.mark.parametrize("size", [(48, 48), (64, 64), (32, 80), (16, 48), (96, 48)])
def test_another_image_size_gives_what_a_tower_of_that_size_gives(size):
    visual, images = tower(), random_images(2, *size)
    there = resized(visual, *size)
    features = DualPathVisionEncoder(visual)(images)
    torch.testing.assert_close(features.class_embedding, there(images), **EXACT)
    torch.testing.assert_close(
        features.patch_embeddings.flatten(1, 2), plain_dual_path(there, images, {1, 2, 3}), **EXACT
    )


def test_position_embedding_of_the_towers_own_grid_is_the_stored_one():
    visual = tower((32, 80))
    assert position_embedding(visual, (2, 5)) is visual.positional_embedding
    assert position_embedding(visual, (5, 2)).shape == visual.positional_embedding.shape
    assert not torch.equal(position_embedding(visual, (5, 2)), visual.positional_embedding)


@torch.no_grad()
def test_an_image_has_the_same_encoding_alone_and_in_a_batch():
    encoder, images = DualPathVisionEncoder(tower()), random_images(3)
    together, alone = encoder(images), encoder(images[1:2])
    torch.testing.assert_close(alone.class_embedding, together.class_embedding[1:2], **EXACT)
    torch.testing.assert_close(alone.patch_embeddings, together.patch_embeddings[1:2], **EXACT)


@torch.no_grad()
def test_the_tower_is_left_as_it_was():
    visual = tower().train()
    before = {name: value.clone() for name, value in visual.state_dict().items()}
    modules = dict(visual.named_modules())
    forward = visual.forward
    DualPathVisionEncoder(visual)(random_images(2, 64, 32))
    assert visual.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in visual.state_dict().items())
    assert dict(visual.named_modules()) == modules
    assert visual.forward == forward
    assert visual.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules.values())


@pytest.mark.parametrize(
    ("visual", "reason"),
    [
        (ModifiedResNet([1, 1, 1, 1], 32, 8, image_size=64, width=8), "ModifiedResNet"),
        (nn.Identity(), "Identity"),
        (tower(attentional_pool=True), "attention"),
        (tower(pool_type="avg"), "'avg'"),
        (tower(pool_type="none"), "'none'"),
        (tower(block_type="custom"), "CustomResidualAttentionBlock"),
        (tower(block_type="custom", qk_norm=True), "CustomResidualAttentionBlock"),
    ],
    ids=["resnet", "no tower", "attention pool", "average pool", "no pool", "custom block", "query-key norm"],
)
def test_an_unsupported_tower_is_refused_with_a_supported_one(visual, reason):
    with pytest.raises(ValueError, match=rf"{reason}.*ViT-B-16-plus-240"):
        DualPathVisionEncoder(visual)


@pytest.mark.parametrize("blocks", [[], [0], [4], [-1], [1, 2, 3, 4]])
def test_vv_blocks_the_tower_does_not_have_are_refused(blocks):
    with pytest.raises(ValueError, match="from 1 to 3"):
        DualPathVisionEncoder(tower(), blocks)


@pytest.mark.parametrize(
    ("size", "near"), [((50, 48), "48x48"), ((48, 75), "48x80"), ((8, 48), "16x48"), ((100, 30), "96x32")]
)
def test_an_image_that_does_not_divide_into_patches_is_refused_with_a_size_that_does(size, near):
    with pytest.raises(ValueError, match=rf"{size[0]}x{size[1]}.*16x16.*{near}"):
        DualPathVisionEncoder(tower())(random_images(1, *size))


@pytest.mark.parametrize("height", [1, 17, 24, 63])
def test_the_suggested_size_is_one_that_works(height):
    visual = tower()
    with pytest.raises(ValueError, match="for example") as caught:
        patch_grid(visual, height, 48)
    rows, columns = map(int, str(caught.value).rsplit(" ", 1)[-1].rstrip(".").split("x"))
    assert patch_grid(visual, rows, columns) == (rows // 16, 3)


@torch.no_grad()
def test_autocast_to_bfloat16_stays_close_to_single_precision():
    encoder, images = DualPathVisionEncoder(tower()), random_images(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = encoder(images)
    for half, exact in zip(rough[:2], encoder(images)[:2], strict=True):
        assert nn.functional.cosine_similarity(half.float(), exact, dim=-1).min() > 0.999


@torch.no_grad()
def test_a_tower_in_double_precision_gives_double_precision():
    visual = tower().double()
    features = DualPathVisionEncoder(visual)(random_images(1, 32, 64).double())
    assert features.patch_embeddings.dtype == features.class_embedding.dtype == torch.float64


@pytest.mark.parametrize(
    ("size", "near"),
    [((50, 50), "48x48"), ((48, 90), "48x96"), ((0, 0), "16x16"), ((-16, -16), "16x16"), ((16, 0), "16x16")],
)
def test_a_size_that_is_no_multiple_of_the_patch_is_refused_with_one_that_is(size, near):
    with pytest.raises(ValueError, match=rf"does not divide into 16x16 patches.*{near}"):
        patch_grid(tower(), *size)


@torch.no_grad()
@pytest.mark.parametrize("layers", [(1.0,), (0.3, 1.0), (0.1, 0.5)])
@pytest.mark.parametrize("vv_blocks", [None, [1, 2]])
def test_vv_layers_are_the_embeddings_of_a_tower_that_ends_there(layers, vv_blocks):
    visual, images = tower(), random_images(2)
    features = DualPathVisionEncoder(visual, vv_blocks, layers)(images)
    blocks = {1, 2, 3} if vv_blocks is None else set(vv_blocks)
    numbers = sorted({ceil(3 * share) for share in layers})
    assert len(features.layers) == len(numbers)
    for number, found in zip(numbers, features.layers, strict=True):
        expected = plain_dual_path(visual, images, blocks & set(range(1, number + 1)))
        torch.testing.assert_close(found.flatten(1, 2), expected, **EXACT)
    if layers == (1.0,):
        assert torch.equal(features.layers[0], features.patch_embeddings)


@torch.no_grad()
@pytest.mark.parametrize("layers", [(1.0,), (0.3, 1.0), (0.1, 0.5)])
def test_ordinary_layers_are_those_that_musc_reads_and_change_nothing_else(layers):
    visual, images = tower(), random_images(2)
    features = DualPathVisionEncoder(visual, None, layers, "ordinary")(images)
    numbers = sorted({ceil(3 * share) for share in layers})
    for found, expected in zip(features.layers, IntermediateEncoder(visual, numbers)(images).layers, strict=True):
        torch.testing.assert_close(found, expected, **EXACT)
    plain = DualPathVisionEncoder(visual)(images)
    torch.testing.assert_close(features.class_embedding, plain.class_embedding, **EXACT)
    torch.testing.assert_close(features.patch_embeddings, plain.patch_embeddings, **EXACT)


@pytest.mark.parametrize(
    ("depth", "shares", "blocks"),
    [(12, (0.25, 0.5, 0.75, 1.0), (3, 6, 9, 12)), (24, (0.25, 0.5, 0.75, 1.0), (6, 12, 18, 24)),
     (10, (0.7,), (7,)), (3, (0.01, 0.5, 0.6), (1, 2)), (12, (1.0, 1.0), (12,))],
)  # fmt: skip
def test_shares_of_the_depth_are_blocks(depth, shares, blocks):
    assert relative_blocks(depth, shares) == blocks

from __future__ import annotations

import pytest
import torch
from open_clip.transformer import VisionTransformer

from dualclip_lightning.backbone import DualPathVisionEncoder, StagedDualPathEncoder
from dualclip_lightning.backbone.encoders.layers import quarter_blocks
from tests.towers import random_images, tower
from tests.unit.backbone.encoders.test_dual_path import plain_vv_attention

EXACT = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def recorded(golden):
    """Tower of 12 blocks, and the vectors that the published code computed with it."""
    vectors = golden("staged_dual_path")
    visual = VisionTransformer(80, 16, 64, 12, 4, 4.0, output_dim=32).eval()
    visual.load_state_dict({k.removeprefix("visual."): v for k, v in vectors.items() if k.startswith("visual.")})
    return visual.requires_grad_(requires_grad=False), vectors


def plain_stages(visual: VisionTransformer, images: torch.Tensor, stages: list[int]):
    """Compute the tokens of both streams after every stage, through open_clip's blocks."""
    ordinary, stream, projected, raw = visual._embeds(images), 0, [], []
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        stream = stream + block.ls_1(plain_vv_attention(block.attn, block.ln_1(ordinary)))
        ordinary = block(ordinary)
        if number in stages:
            tokens = torch.cat([ordinary[:, :1], stream[:, 1:]], dim=1)
            projected.append(visual.ln_post(tokens) @ visual.proj)
            raw.append(ordinary)
            stream = 0
    return projected, raw


def test_reproduces_the_recorded_vectors_where_the_published_code_is_sound(recorded):
    visual, vectors = recorded
    features = StagedDualPathEncoder(visual)(vectors["in.image"])
    assert features.grid == (5, 5)
    torch.testing.assert_close(features.stages[3], vectors["out.stage3"], **EXACT)
    torch.testing.assert_close(features.ordinary[3], vectors["out.ori3"], **EXACT)
    for i, stage in enumerate(features.stages):
        torch.testing.assert_close(stage[:, 1:], vectors[f"out.stage{i}"][:, 1:], **EXACT)


def test_released_tokens_reproduce_every_recorded_vector(recorded):
    visual, vectors = recorded
    released = StagedDualPathEncoder(visual, released_tokens=True)(vectors["in.image"])
    for i in range(4):
        torch.testing.assert_close(released.stages[i], vectors[f"out.stage{i}"], **EXACT)
        torch.testing.assert_close(released.ordinary[i], vectors[f"out.ori{i}"], **EXACT)


def test_released_tokens_differ_only_before_the_last_block(recorded):
    visual, vectors = recorded
    ours = StagedDualPathEncoder(visual)(vectors["in.image"])
    released = StagedDualPathEncoder(visual, released_tokens=True)(vectors["in.image"])
    differ = [(a - b).abs().amax(dim=(0, 2)) > 1e-3 for a, b in zip(ours.stages, released.stages, strict=True)]
    assert [bool(tokens[0]) for tokens in differ] == [True, True, True, False]
    assert not any(tokens[1:].any() for tokens in differ)


@torch.no_grad()
@pytest.mark.parametrize("stages", [[1], [3], [1, 3], [2, 3], [1, 2, 3]])
@pytest.mark.parametrize("changes", [{}, {"ls_init_value": 0.3}])
@pytest.mark.parametrize("size", [(48, 48), (32, 80)])
def test_stages_equal_the_plain_two_streams(stages, changes, size):
    visual, images = tower(size, **changes), random_images(2, *size)
    features = StagedDualPathEncoder(visual, stages)(images)
    projected, raw = plain_stages(visual, images, stages)
    assert len(features.stages) == len(features.ordinary) == len(stages)
    assert features.grid == (size[0] // 16, size[1] // 16)
    for got, expected in zip((*features.stages, *features.ordinary), (*projected, *raw), strict=True):
        torch.testing.assert_close(got, expected, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("stages", [[1, 2], [1, 3]])
def test_without_ordinary_tokens_the_stages_are_the_same(stages, released):
    visual, images = tower(), random_images(2)
    whole = StagedDualPathEncoder(visual, stages, released_tokens=released)(images)
    lean = StagedDualPathEncoder(visual, stages, keep_ordinary=False, released_tokens=released)(images)
    assert lean.ordinary == ()
    for got, expected in zip(lean.stages, whole.stages, strict=True):
        torch.testing.assert_close(got, expected, **EXACT)


@torch.no_grad()
def test_released_tokens_of_an_early_last_stage_hold_the_next_blocks_attention():
    visual, images = tower(), random_images(2)
    block = visual.transformer.resblocks[2]
    (ordinary,) = StagedDualPathEncoder(visual, [2])(images).ordinary
    normed = block.ln_1(ordinary)
    expected = ordinary + block.attn(normed, normed, normed, need_weights=False)[0]
    (released,) = StagedDualPathEncoder(visual, [2], released_tokens=True)(images).ordinary
    torch.testing.assert_close(released, expected, **EXACT)


@torch.no_grad()
def test_the_last_class_token_is_clips_own():
    visual, images = tower(), random_images(3)
    stages = StagedDualPathEncoder(visual, None, keep_ordinary=False)(images).stages
    torch.testing.assert_close(stages[-1][:, 0], visual(images), **EXACT)
    torch.testing.assert_close(stages[-1][:, 0], DualPathVisionEncoder(visual)(images).class_embedding, **EXACT)


@pytest.mark.parametrize(
    ("depth", "stages"),
    [(12, (3, 6, 9, 12)), (24, (6, 12, 18, 24)), (32, (8, 16, 24, 32)), (4, (1, 2, 3, 4)), (3, (1, 2, 3)), (1, (1,))],
)
def test_the_default_stages_are_the_quarters_of_the_depth(depth, stages):
    assert quarter_blocks(depth) == stages
    assert StagedDualPathEncoder(tower(layers=depth), None).stages == stages


@pytest.mark.parametrize("stages", [[], [0, 1], [4], [2, 1], [1, 1], [-1], (3, 6, 9, 12)])
def test_stages_the_tower_does_not_have_are_refused_with_some_that_it_has(stages):
    with pytest.raises(ValueError, match=r"1 to 3.*for example \[1, 2, 3\]"):
        StagedDualPathEncoder(tower(), stages)


@torch.no_grad()
def test_the_tower_is_left_as_it_was():
    visual = tower()
    before = {name: value.clone() for name, value in visual.state_dict().items()}
    images = random_images(2)
    copy = images.clone()
    first = StagedDualPathEncoder(visual, None, released_tokens=True)(images)
    second = StagedDualPathEncoder(visual, None, released_tokens=True)(images)
    assert all(torch.equal(a, b) for a, b in zip(first.stages, second.stages, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in visual.state_dict().items())
    assert torch.equal(images, copy)

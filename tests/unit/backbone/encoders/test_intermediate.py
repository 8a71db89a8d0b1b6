"""Tokens of the ordinary stream after chosen blocks, compared with open_clip's."""

from __future__ import annotations

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet

from dualclip_lightning.backbone import IntermediateEncoder
from tests.towers import random_images, tower

EXACT = {"atol": 1e-5, "rtol": 0}


@torch.no_grad()
@pytest.mark.parametrize("layers", [None, [1], [2], [3], [1, 3], [3, 2]])
@pytest.mark.parametrize("size", [(48, 48), (32, 80)])
def test_class_embedding_and_patch_tokens_are_open_clips_own(layers, size):
    visual, images = tower(size), random_images(2, *size)
    features = IntermediateEncoder(visual, layers)(images)
    torch.testing.assert_close(features.class_embedding, visual(images), **EXACT)
    wanted = sorted(layers or [1, 2, 3])
    theirs = visual.forward_intermediates(images, indices=[n - 1 for n in wanted], output_fmt="NLC")
    assert len(features.layers) == len(wanted)
    for ours, expected in zip(features.layers, theirs["image_intermediates"], strict=True):
        assert ours.shape == (2, size[0] // 16, size[1] // 16, 32)
        torch.testing.assert_close(ours.flatten(1, 2), expected, **EXACT)


@torch.no_grad()
def test_an_image_of_another_size_than_the_towers_can_be_read():
    features = IntermediateEncoder(tower())(random_images(2, 32, 80))
    assert [layer.shape for layer in features.layers] == [(2, 2, 5, 32)] * 3


@torch.no_grad()
def test_an_image_has_the_same_encoding_alone_and_in_a_batch():
    encoder, images = IntermediateEncoder(tower()), random_images(3)
    together, alone = encoder(images), encoder(images[1:2])
    torch.testing.assert_close(alone.class_embedding, together.class_embedding[1:2], **EXACT)
    for one, all_of_them in zip(alone.layers, together.layers, strict=True):
        torch.testing.assert_close(one, all_of_them[1:2], **EXACT)


def test_the_default_follows_the_depth_of_the_tower():
    assert IntermediateEncoder(tower()).layers == (1, 2, 3)
    assert IntermediateEncoder(tower(layers=8)).layers == (2, 4, 6, 8)


def test_a_layer_is_read_once_however_often_it_is_named():
    assert IntermediateEncoder(tower(), [2, 2, 1]).layers == (1, 2)


@pytest.mark.parametrize("layers", [[], [0], [4], [-1, 2]])
def test_a_block_that_the_tower_does_not_have_is_an_error_that_says_which_it_has(layers):
    with pytest.raises(ValueError, match="blocks from 1 to 3"):
        IntermediateEncoder(tower(), layers)


def test_a_tower_without_blocks_of_tokens_is_an_error_that_names_the_remedy():
    resnet = ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=2, image_size=32, width=8)
    with pytest.raises(ValueError, match="ViT-B-16-plus-240"):
        IntermediateEncoder(resnet)


def test_a_size_that_patches_do_not_divide_is_an_error():
    with pytest.raises(ValueError, match="multiples of the patch"):
        IntermediateEncoder(tower())(random_images(1, 40, 48))

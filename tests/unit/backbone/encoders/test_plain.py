"""CLIP's ordinary forward, compared with open_clip."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from dualclip_lightning.backbone import ClassEncoder, PlainVisionEncoder
from tests.towers import PATCH, random_images, tower


@pytest.fixture
def visual():
    return tower()


@torch.no_grad()
def test_the_class_embedding_is_open_clips(visual):
    images = random_images(3)
    expected = visual(images)
    torch.testing.assert_close(ClassEncoder(visual)(images), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(PlainVisionEncoder(visual)(images).class_embedding, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_patch_embeddings_are_open_clips_tokens_projected(visual):
    images = random_images(3)
    telling = deepcopy(visual)
    telling.output_tokens = True
    tokens = telling(images)[1] @ visual.proj
    patches = PlainVisionEncoder(visual)(images).patch_embeddings
    torch.testing.assert_close(patches.flatten(1, 2), tokens, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_tower_of_one_block_is_supported():
    visual = tower(layers=1)
    torch.testing.assert_close(ClassEncoder(visual)(random_images(2)), visual(random_images(2)), atol=1e-5, rtol=0)


@torch.no_grad()
def test_an_image_need_not_be_square(visual):
    features = PlainVisionEncoder(visual)(random_images(2, 2 * PATCH, 5 * PATCH))
    assert features.patch_embeddings.shape[1:3] == (2, 5)


def test_a_side_that_no_patch_divides_is_refused(visual):
    with pytest.raises(ValueError, match="multiples of the patch"):
        ClassEncoder(visual)(random_images(1, 50, 48))

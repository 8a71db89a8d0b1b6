"""Window embeddings, compared with open_clip's tower run separately on each window."""

from __future__ import annotations

import pytest
import torch

from dualclip_lightning.backbone import WindowEncoder
from dualclip_lightning.backbone.encoders import windows
from tests.towers import PATCH, random_images, tower


@pytest.fixture
def visual():
    return tower()


def plain_window(visual, images, rows, columns):
    """Compute the class embedding of some rows and columns of patches with open_clip's modules."""
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    start = visual.class_embedding.expand(len(images), 1, -1)
    tokens = torch.cat([start, patches], 1) + visual.positional_embedding
    width = visual.grid_size[1]
    kept = [0] + [1 + r * width + c for r in rows for c in columns]
    x = visual.transformer(visual.ln_pre(tokens[:, kept]))
    return visual.ln_post(x[:, 0]) @ visual.proj


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 3])
def test_every_window_equals_the_tower_run_only_on_its_patches(layers):
    visual, images = tower(layers=layers), random_images(2)
    two, three = WindowEncoder(visual, (2, 3))(images).window_embeddings
    assert two.shape[:3] == (2, 2, 2)
    assert three.shape[:3] == (2, 1, 1)
    for r in range(2):
        for c in range(2):
            expected = plain_window(visual, images, (r, r + 1), (c, c + 1))
            torch.testing.assert_close(two[:, r, c], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_window_that_covers_all_patches_is_the_image_embedding(visual):
    images = random_images(3)
    features = WindowEncoder(visual, (3, 7))(images)
    for window in features.window_embeddings:
        torch.testing.assert_close(window[:, 0, 0], visual(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.class_embedding, visual(images), atol=1e-5, rtol=0)


@torch.no_grad()
def test_windows_slide_over_images_that_are_not_square(visual):
    features = WindowEncoder(visual, (2, 3))(random_images(1, 2 * PATCH, 5 * PATCH))
    assert [window.shape[1:3] for window in features.window_embeddings] == [(1, 4), (1, 3)]
    assert features.patch_tokens.shape[1:3] == (2, 5)


@torch.no_grad()
def test_the_number_of_windows_per_batch_changes_nothing(visual, monkeypatch):
    images = random_images(2)
    expected = WindowEncoder(visual, (1, 2))(images).window_embeddings
    monkeypatch.setattr(windows, "WINDOW_TOKENS", 1)
    for ours, other in zip(WindowEncoder(visual, (1, 2))(images).window_embeddings, expected, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scales", [(), (0, 2)])
def test_a_window_without_patches_is_refused(visual, scales):
    with pytest.raises(ValueError, match="at least 1 patch"):
        WindowEncoder(visual, scales)

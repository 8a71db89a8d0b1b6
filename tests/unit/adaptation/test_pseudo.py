"""Pseudo anomalies: from an image to a changed image and its mask."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dualclip_lightning.adaptation import AdaptationSettings, TextureSource, pseudo_anomalies

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SETTINGS = AdaptationSettings()


def _images(count=4, size=(40, 56)):
    pixels = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def _pixels(images):
    return images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)


def _corrupt(images, seeds, settings=SETTINGS):
    return pseudo_anomalies(images, seeds, TextureSource(), MEAN, STD, settings)


def test_outside_the_mask_no_value_changes_and_inside_the_image_changes():
    images = _images()
    pseudo = _corrupt(images, range(4))
    different = (pseudo.images != images).any(dim=1)
    assert not (different & ~pseudo.masks).any()
    assert (different & pseudo.masks).sum() > 0.9 * pseudo.masks.sum()


def test_a_valid_image_stays_a_valid_image():
    pixels = _pixels(_corrupt(_images(), range(4)).images)
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5


def test_each_image_depends_only_on_its_own_seed():
    images = _images()
    together = _corrupt(images, [3, 1, 4, 1])
    for i, seed in enumerate([3, 1, 4, 1]):
        alone = _corrupt(images[i : i + 1], [seed])
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.masks[0], together.masks[i])
    assert torch.equal(together.masks[1], together.masks[3])
    assert not torch.equal(together.masks[0], together.masks[1])


def test_full_opacity_shows_only_the_texture_and_low_opacity_little_of_it():
    images = torch.zeros(1, 3, 40, 56)
    full = _corrupt(images, [5], AdaptationSettings(opacity=(1.0, 1.0)))
    faint = _corrupt(images, [5], AdaptationSettings(opacity=(0.25, 0.25)))
    assert torch.equal(full.masks, faint.masks)
    assert torch.allclose(faint.images, 0.25 * full.images, atol=1e-6)


def test_half_precision_images_stay_in_half_precision():
    pseudo = _corrupt(_images().half(), range(4))
    assert pseudo.images.dtype == torch.half


def test_global_generators_are_not_changed():
    def states():
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is the point
        return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()

    before = states()
    _corrupt(_images(), range(4))
    assert states() == before


def test_another_number_of_seeds_than_images_is_refused():
    with pytest.raises(ValueError, match="one seed for each of the 4 images, but got 1"):
        _corrupt(_images(), [0])

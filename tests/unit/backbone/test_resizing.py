"""Resizing by matrices, beside Pillow and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize as torchvision_resize

from dualclip_lightning.backbone.resizing import resize

SIZES = [(300, 200), (48, 32), (1, 1), (3, 500), (31, 90), (700, 9)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
def test_values_are_those_of_pillow(size, interpolation):
    pixels = np.random.default_rng(0).random((2, 3, *size), dtype=np.float32)
    found = resize(torch.from_numpy(pixels), (48, 32), interpolation)
    resampling = Image.Resampling[interpolation.upper()]
    for image, own in zip(pixels, found, strict=True):
        planes = [np.asarray(Image.fromarray(plane).resize((32, 48), resampling)) for plane in image]
        np.testing.assert_allclose(own.numpy(), np.stack(planes), atol=1e-6)


@pytest.mark.parametrize("size", [(70, 50), (210, 224)])
def test_values_are_those_of_torchvision_with_antialiasing(size):
    images = torch.rand(2, 3, 120, 100, generator=torch.Generator().manual_seed(0))
    expected = torchvision_resize(images, list(size), InterpolationMode.BICUBIC, antialias=True)
    torch.testing.assert_close(
        resize(images, size, "bicubic"), expected, atol=2e-5, rtol=0
    )  # torchvision rounds coordinates


def test_an_image_of_the_size_stays_as_it_is():
    images = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(images, (20, 30), "bicubic"), images)

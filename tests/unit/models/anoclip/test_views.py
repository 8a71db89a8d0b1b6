"""The 22 views, compared with the grids that the released code of AnoCLIP samples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.models.anoclip.views import augmented_views
from tests.towers import random_images


def sampled(images, matrix):
    grid = F.affine_grid(torch.tensor(matrix)[None].repeat(len(images), 1, 1), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def released_views(images):
    """Compute the views as the released code does, in its order."""
    angles = [-math.pi / 4, -3 * math.pi / 16, -math.pi / 8, -math.pi / 16]
    for angle in [*angles, *(-a for a in angles)]:
        yield sampled(images, [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    for size in (0.2, 0.1):
        for a, b in [(size, size), (-size, size), (-size, -size), (size, -size)]:
            yield sampled(images, [[1.0, 0.0, a], [0.0, 1.0, b]])
    yield images.flip(-1)
    yield (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).repeat(1, 3, 1, 1)
    for quarters in (1, 2, 3):
        yield torch.rot90(images, quarters, dims=(-2, -1))
    yield images


def test_the_views_are_those_of_the_released_code():
    images = random_images(2, 32, 32)
    views = augmented_views(images)
    assert views.shape == (22, 2, 3, 32, 32)
    left = list(range(22))
    for expected in released_views(images):
        distance, nearest = min((float((views[i] - expected).abs().max()), i) for i in left)
        assert distance < 1e-3
        left.remove(nearest)


def test_the_image_itself_comes_first():
    images = random_images(2, 16, 48)
    views = augmented_views(images)
    assert torch.equal(views[0], images)
    assert views.shape == (22, 2, 3, 16, 48)
    assert views.isfinite().all()


def test_half_precision_displaces_no_pixel():
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = augmented_views(images)
    torch.testing.assert_close(halved, augmented_views(images), atol=1e-6, rtol=0)

"""Perlin masks, and which patches they make anomalous."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.adaptation.masks import patch_targets, perlin_mask

AREA = (0.02, 0.5)


@pytest.mark.parametrize("size", [(48, 48), (30, 70)])
def test_masks_of_many_seeds_stay_within_the_stated_share(size):
    shares = torch.stack([perlin_mask(size, seed, AREA).float().mean() for seed in range(60)])
    assert ((shares >= AREA[0]) & (shares <= AREA[1])).all()
    assert shares.std() > 0.02  # the shares vary


def test_a_share_that_the_noise_does_not_reach_is_filled_with_its_highest_pixels():
    shares = [perlin_mask((40, 40), seed, (0.93, 0.95)).float().mean().item() for seed in range(10)]
    assert all(0.92 < share < 0.96 for share in shares)


@pytest.mark.parametrize("area", [(1e-9, 1e-8), (1 - 1e-8, 1 - 1e-9)])
def test_no_mask_is_ever_empty_or_full(area):
    mask = perlin_mask((16, 16), 3, area)
    assert 0 < mask.sum() < mask.numel()


def test_a_mask_depends_only_on_its_seed_and_does_not_change_the_global_generator():
    before = torch.random.get_rng_state()
    first = perlin_mask((32, 32), 5, AREA)
    torch.rand(3)
    assert torch.equal(first, perlin_mask((32, 32), 5, AREA))
    assert not torch.equal(first, perlin_mask((32, 32), 6, AREA))
    torch.random.set_rng_state(before)
    perlin_mask((32, 32), 5, AREA)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_mask_reseeds_no_gpu(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    perlin_mask((32, 32), 5, AREA)
    assert seeds == []


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float64])
def test_a_mask_is_the_same_under_the_default_type_of_any_precision(dtype):
    expected = [perlin_mask((48, 64), seed, AREA) for seed in range(8)]
    torch.set_default_dtype(dtype)
    try:
        found = [perlin_mask((48, 64), seed, AREA) for seed in range(8)]
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


def test_a_mask_is_the_same_under_autocast():
    expected = [perlin_mask((48, 64), seed, AREA) for seed in range(8)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [perlin_mask((48, 64), seed, AREA) for seed in range(8)]
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_every_mask_has_anomalous_and_normal_patches_on_the_grid_of_the_paper(share):
    drawn = torch.stack([perlin_mask((240, 240), seed, AREA) for seed in range(50)])
    counts = patch_targets(drawn, (15, 15), share).flatten(1).sum(1)
    assert counts.min() >= 1
    assert counts.max() <= 15 * 15 - 1


def test_patches_with_more_than_the_share_are_anomalous():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :4] = True  # all of the first patch
    mask[0, :4, 4:6] = True  # half of the second
    mask[0, 4:, 4] = True  # a quarter of the last
    by_area = F.avg_pool2d(mask[:, None].float(), 4)[:, 0]
    for share in (0.1, 0.3, 0.5, 0.9):
        assert torch.equal(patch_targets(mask, (2, 2), share), by_area > share)


def test_a_thin_mask_keeps_its_best_patch_and_a_wide_one_leaves_a_patch():
    thin = torch.zeros(1, 8, 8, dtype=torch.bool)
    thin[0, 5, 2:4] = True
    assert patch_targets(thin, (2, 2), 0.5).nonzero().tolist() == [[0, 1, 0]]
    wide = torch.ones(1, 8, 8, dtype=torch.bool)
    wide[0, 0, 7] = False
    assert (~patch_targets(wide, (2, 2), 0.5)).nonzero().tolist() == [[0, 0, 1]]


def test_an_image_without_a_mask_has_no_anomalous_patch():
    assert not patch_targets(torch.zeros(2, 8, 8, dtype=torch.bool), (2, 2), 0.5).any()

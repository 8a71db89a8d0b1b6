"""Pseudo anomalies that several threads draw at once equal those of a single thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from dualclip_lightning.adaptation import TextureSource
from dualclip_lightning.adaptation.masks import perlin_mask

SEEDS = range(24)


def together(draw):
    """Return what several threads draw at the same time, and what is drawn one after the other."""
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(draw, SEEDS))
    return at_once, [draw(seed) for seed in SEEDS]


def test_masks():
    for found, expected in zip(*together(lambda seed: perlin_mask((48, 48), seed, (0.02, 0.5))), strict=True):
        assert torch.equal(found, expected)


def test_textures():
    source = TextureSource()
    for found, expected in zip(*together(lambda seed: source.sample((48, 48), seed)), strict=True):
        assert torch.equal(found, expected)

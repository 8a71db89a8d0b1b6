"""Pseudo anomalies drawn by several threads at once: each as if it were alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from dualclip_lightning.adaptation import TextureSource
from dualclip_lightning.adaptation.masks import perlin_mask

SEEDS = range(24)


def together(draw):
    """What some threads draw at the same time, and one after the other."""
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

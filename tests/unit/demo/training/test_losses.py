from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn.functional import normalize

from dualclip_lightning.backbone import DualPathFeatures
from dualclip_lightning.demo.training.losses import compute_losses


def _features(classes=2, views=4, side=3, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator)
    share = torch.zeros(classes, views, side, side)
    share[:, views // 2 :, 0, :2] = 1  # two whole patches
    share[:, views // 2 :, 1, 0] = 0.05  # neither normal nor clearly damaged
    features = DualPathFeatures(draw(classes * views, dim), draw(classes * views, side, side, dim))
    named, spoken = (draw(1, 1, dim) + 0.05 * draw(classes, 2, dim) for _ in range(2))  # close, as in a CLIP
    return features, share.flatten(0, 1), named, spoken


def test_losses_are_the_log_losses_of_scikit_learn():
    features, share, named, spoken = _features()
    losses = compute_losses(features, share, named, spoken)
    damaged = np.tile([0, 0, 1, 1], 2)
    own = spoken.repeat_interleave(4, dim=0)

    def similarity(x, y):
        return normalize(x.double(), dim=-1) @ normalize(y.double(), dim=-1).transpose(-1, -2) / 0.01

    state = similarity(features.class_embedding[:, None], own)[:, 0].softmax(-1)
    assert losses["image state"].item() == pytest.approx(log_loss(damaged, state[:, 1]), rel=1e-4)
    every = similarity(features.class_embedding, named.flatten(0, 1)).softmax(-1)
    truth = [2 * c + d for c, d in zip(np.repeat([0, 1], 4), damaged, strict=True)]
    expected = log_loss(truth, every, labels=range(4))
    assert losses["class and state"].item() == pytest.approx(0.25 * expected, rel=1e-4)

    patch = similarity(features.patch_embeddings.flatten(1, 2), own).softmax(-1)[..., 1].numpy()
    sound = np.repeat(damaged == 0, 9).reshape(8, 9)
    sound[:, [2, 4, 5, 6, 7, 8]] = True
    hit = np.zeros((8, 9), bool)
    hit[damaged == 1, :2] = True
    expected = log_loss(np.zeros(sound.sum()), patch[sound], labels=[0, 1]) + log_loss(
        np.ones(hit.sum()), patch[hit], labels=[0, 1]
    )
    assert losses["patch state"].item() == pytest.approx(expected, rel=1e-4)


def test_the_reference_loss_is_zero_once_normal_patches_agree_and_damaged_ones_are_far_away():
    features, share, named, spoken = _features()
    patches = torch.zeros_like(features.patch_embeddings)
    patches[..., 0] = 1
    apart = patches.clone()
    apart[share > 0] = torch.eye(8)[1]
    losses = [
        compute_losses(DualPathFeatures(features.class_embedding, x), share, named, spoken)["reference"].item()
        for x in (apart, patches)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-6)  # the patch that is neither normal nor damaged is ignored
    assert losses[1] == pytest.approx(0.5, abs=1e-6)  # the full margin


def test_a_step_without_damage_has_finite_losses():
    features, share, named, spoken = _features()
    losses = compute_losses(features, torch.zeros_like(share), named, spoken)
    assert all(torch.isfinite(loss) for loss in losses.values())

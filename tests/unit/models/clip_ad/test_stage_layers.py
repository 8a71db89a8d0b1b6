from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from dualclip_lightning.models.clip_ad.stage_layers import StageLayers, segmentation_loss

EXACT = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def drawn(generator):
    """Return random logits of 2 stages and 3 images, and masks, one of which is empty."""
    masks = torch.zeros(3, 6, 5)
    masks[0, :2], masks[1] = 1, 1
    return 3 * torch.randn(2, 3, 6, 5, generator=generator), masks


def plain_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Compute the loss by stage, image and pixel."""
    total = torch.zeros(())
    for stage in logits:
        for values, mask in zip(stage, masks, strict=True):
            focal, shared, size = [], torch.zeros(()), torch.zeros(())
            for value, target in zip(values.flatten(), mask.flatten(), strict=True):
                p = 1 / (1 + (-value).exp())
                right = p if target else 1 - p
                focal.append(-((1 - right) ** 2) * right.log())
                shared, size = shared + p * target, size + p + target
            total = total + sum(focal) / len(focal) + 1 - (2 * shared + 1) / (size + 1)
    return total / len(masks)


def test_loss_equals_focal_plus_dice_written_out(drawn):
    logits, masks = drawn
    torch.testing.assert_close(segmentation_loss(logits, masks), plain_loss(logits, masks), **EXACT)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8])
def test_masks_of_any_type_count_alike(drawn, kind):
    logits, masks = drawn
    mask = (255 * masks).to(kind) if kind is torch.uint8 else masks.to(kind)
    torch.testing.assert_close(segmentation_loss(logits, mask), segmentation_loss(logits, masks))


def test_a_perfect_map_costs_nothing_and_its_opposite_the_most(drawn):
    _, masks = drawn
    perfect = (40 * (2 * masks - 1)).expand(2, 3, 6, 5)
    assert segmentation_loss(perfect, masks) < 1e-4
    assert segmentation_loss(-perfect, masks) > segmentation_loss(torch.zeros_like(perfect), masks) > 1


def test_logits_are_the_difference_of_the_two_scaled_cosines(generator):
    tokens = [torch.randn(2, 7, 8, generator=generator) for _ in range(3)]
    anchors = normalize(torch.randn(2, 2, 5, generator=generator), dim=-1)
    layers = StageLayers(3, 8, 5, seed=1)
    logits = layers(tokens, (2, 3), anchors, temperature=0.1)
    assert logits.shape == (3, 2, 2, 3)
    for stage, image, patch in [(0, 0, 0), (1, 1, 4), (2, 0, 5)]:
        vector = layers[stage].weight @ tokens[stage][image, 1 + patch] + layers[stage].bias
        cosines = anchors[image] @ vector / vector.norm()
        expected = (cosines[1] - cosines[0]) / 0.1
        torch.testing.assert_close(logits[stage, image].flatten()[patch], expected, **EXACT)


def test_layers_come_from_the_seed_and_do_not_change_the_callers_generator():
    before = torch.get_rng_state()
    first, again, other = (StageLayers(2, 8, 5, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[1].weight, again[1].weight)
    assert not torch.equal(first[1].weight, other[1].weight)
    assert not torch.equal(first[0].weight, first[1].weight)

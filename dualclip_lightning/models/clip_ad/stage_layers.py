"""The trained part of SDP+: one linear layer per stage, and its losses (CLIP-AD, arXiv 2311.00453, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from dualclip_lightning.scoring import state_logits
from dualclip_lightning.scoring.precision import single_precision
from dualclip_lightning.scoring.text import ANOMALOUS, NORMAL
from dualclip_lightning.utilities.seeding import derive_seed

FOCUS = 2.0
"""Exponent of the focal loss, given by the released code (github.com/ByChelsea/CLIP-AD, `util/losses.py`)."""
SMOOTHING = 1.0
"""Added to both sides of the dice ratio, which is then defined for images without a defect; given, as above."""


class StageLayers(nn.ModuleList):
    """One linear layer per stage, from the tower's width C to the shared space D, initialised from a seed.

    Args:
        stages: number of stages.
        width: C.
        dim: D.
        seed: seed of the weights; the global generator is not changed.
    """

    def __init__(self, stages: int, width: int, dim: int, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive_seed(seed, "stage layers"))
            super().__init__(nn.Linear(width, dim) for _ in range(stages))

    def forward(self, ordinary: Sequence[Tensor], grid: tuple[int, int], anchors: Tensor, temperature: float) -> Tensor:
        """Return logits of the anomalous state for every stage, image and patch: [S, B, h, w].

        Their sigmoid is the softmax over the two cosines, each divided by the temperature.

        Args:
            ordinary: raw tokens [B, 1+N, C] of every stage, class token first.
            grid: h and w.
            anchors: [2, D] or [B, 2, D] (normal, anomalous).
            temperature: above 0.
        """
        projected = [layer(tokens[:, 1:]) for layer, tokens in zip(self, ordinary, strict=True)]
        with single_precision(anchors.device):
            logits = [state_logits(patches.float(), anchors.float(), temperature) for patches in projected]
        both = torch.stack(logits).unflatten(2, grid)
        return both[..., ANOMALOUS] - both[..., NORMAL]


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return focal plus dice loss, each averaged over images and summed over stages.

    Args:
        logits: [S, B, H, W], logits of the anomalous state.
        masks: [B, H, W], true or above 0 for defective pixels.
    """
    targets = (masks > 0).to(logits.dtype).expand_as(logits)
    focal = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=FOCUS, reduction="none")
    probability = logits.sigmoid()
    shared, total = (x.sum(dim=(-2, -1)) for x in (probability * targets, probability + targets))
    dice = 1 - (2 * shared + SMOOTHING) / (total + SMOOTHING)
    return (focal.mean(dim=(-2, -1)) + dice).mean(dim=1).sum()

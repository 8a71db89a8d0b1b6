"""Training losses of the demo's CLIP, based on the scores of the method: eq. 1 to 5 of arXiv 2405.04782."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures
from dualclip_lightning.scoring import reference_score, state_logits

TEMPERATURE = 0.01
"""Final temperature of CLIP's own training (arXiv 2103.00020, section 2.5: logits are scaled by at most 100). The
method scores at 0.07, where this text score is soft; one trained to be 0 or 1 there would dominate the reference score.
"""
DAMAGED = 0.08
"""Smallest defective share of a damaged patch: a line of two pixels across 16 has 0.12."""
MARGIN = 0.5
"""Desired distance of a damaged patch from the nearest sound one."""


def compute_losses(features: DualPathFeatures, share: Tensor, named: Tensor, spoken: Tensor) -> dict[str, Tensor]:
    """Compute the losses of a step by name.

    Args:
        features: features of all images [C*V, ...], with the V views of a scene in sequence, sound ones first.
        share: damaged share of every patch [C*V, h, w].
        named: anchors [C, 2, D] for each scene's own name, to distinguish scenes and states.
        spoken: anchors [C, 2, D] for that name or another, to distinguish states.
    """
    classes = len(named)
    views = len(share) // classes
    damaged = (share.flatten(1).amax(1) > 0).long()
    own = spoken.repeat_interleave(views, dim=0)
    which = torch.arange(classes).repeat_interleave(views) * 2 + damaged
    every = state_logits(features.class_embedding, named.flatten(0, 1), TEMPERATURE)
    return {
        "class and state": 0.25 * F.cross_entropy(every, which),
        "image state": F.cross_entropy(state_logits(features.class_embedding, own, TEMPERATURE), damaged),
        "patch state": _patch_loss(state_logits(features.patch_embeddings, own, TEMPERATURE), share),
        "reference": _reference_loss(features.patch_embeddings, share, views),
    }


def _patch_loss(logits: Tensor, share: Tensor) -> Tensor:
    """Compute the cross-entropy of sound and damaged patches with equal weight; patches on a border are ignored."""
    sound, damaged = share == 0, share > DAMAGED
    loss = F.cross_entropy(logits.permute(0, 3, 1, 2), damaged.long(), reduction="none")
    return _mean(loss[sound]) + _mean(loss[damaged])


def _reference_loss(patches: Tensor, share: Tensor, views: int) -> Tensor:
    """Compute the loss that draws sound patches to the paired sound view and repels damaged ones (eq. 5, margin)."""
    sound = views // 2
    place = torch.arange(len(patches))
    partner = place - place % views + (place % views + 1) % sound
    distance = reference_score(patches, patches[partner].unsqueeze(1))
    return _mean(distance[share == 0]) + _mean(F.relu(MARGIN - distance[share > DAMAGED]))


def _mean(values: Tensor) -> Tensor:
    """Return the mean, or 0 if there are no values, because a step may have no clearly damaged patch."""
    return values.mean() if values.numel() else values.sum()

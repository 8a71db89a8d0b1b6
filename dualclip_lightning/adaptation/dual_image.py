"""Dual-Image CLIP's adaptation: one residual linear adapter per image (arXiv 2405.04782, eq. 7 to 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.adaptation.loop import Adapted, adapt, constant, lower_rate, require_finite, training_context
from dualclip_lightning.adaptation.settings import AdaptationSettings
from dualclip_lightning.scoring import state_logits, text_score
from dualclip_lightning.scoring.text import ANOMALOUS


class AdaptationInputs(NamedTuple):
    """Inputs of the adaptation of a batch."""

    patches: Tensor
    """[B, h, w, D], patch embeddings of the originals, of any length"""
    pseudo_patches: Tensor
    """[B, h, w, D], patch embeddings of their pseudo-anomalous copies"""
    targets: Tensor
    """[B, h, w], booleans, true for anomalous patches of the copies"""
    joint_map: Tensor
    """[B, h, w], joint map A_J of the originals"""
    anchors: Tensor
    """[2, D]"""
    temperature: float


def identity_adapter(batch: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the initial adapters, which are the identity: weights [B, D, D] and biases [B, D]."""
    return torch.eye(width, device=device).repeat(batch, 1, 1), torch.zeros(batch, width, device=device)


def apply_adapter(patches: Tensor, weight: Tensor, bias: Tensor, residual: float) -> Tensor:
    """Return adapted embeddings `(1 - rho) x + rho (W x/|x| + b)` (eq. 7 and 8), in the shape of x.

    This form, with rho = 0.5, is that of the only linear adapter that the authors' group has released (AnoVL,
    github.com/hq-deng/AnoVL, `Adapter` in model.py). As x keeps its length, adapters change long embeddings less.

    Args:
        patches: x, [B, ..., D], of any length.
        weight: [B, D, D].
        bias: [B, D].
        residual: rho.
    """
    flat = patches.flatten(1, -2)
    mapped = torch.baddbmm(bias.unsqueeze(1), F.normalize(flat, dim=-1), weight.transpose(1, 2))
    return torch.lerp(flat, mapped, residual).view_as(patches)


def anomaly_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of -log p(anomalous) over the anomalous patches [B] (eq. 10), from logits [B, h, w, 2]."""
    surprise = -logits.log_softmax(dim=-1)[..., ANOMALOUS]
    return (surprise * targets).flatten(1).sum(1) / targets.flatten(1).sum(1).clamp(min=1)


def consistency_loss(scores: Tensor, joint_map: Tensor) -> Tensor:
    """Return the mean squared difference [B] of adapted scores and joint map, both [B, h, w] (eq. 11).

    That the difference is squared is assumed.
    """
    return (scores - joint_map).square().flatten(1).mean(1)


def anomalous_patches(patches: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Select the patches for the loss of eq. 10 [B, 1, M, D], with their weights [B, 1, M], which are 1 or 0.

    M is the largest number of anomalous patches in any image of the batch; images with fewer are padded with patches
    of weight 0. Omitting all other patches halves the cost of a step and does not change the result.
    """
    flat = targets.flatten(1).float()
    counted, rows = flat.topk(int(flat.sum(1).max()), dim=1)
    chosen = patches.flatten(1, 2).gather(1, rows.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
    return chosen.unsqueeze(1), counted.unsqueeze(1)


def adapt_to_pseudo_anomalies(inputs: AdaptationInputs, settings: AdaptationSettings) -> tuple[Tensor, Adapted]:
    """Fit the adapters; return the adapted text map of the originals [B, h, w], in [0, 1], and the adapters.

    Works under inference mode, `no_grad` and autocast, always in single precision. Only the adapters get a gradient.

    Raises:
        FloatingPointError: a loss, or the map after the last step, is not finite.
    """
    with training_context(inputs.patches.device):
        original, joint_map, anchors = map(constant, (inputs.patches, inputs.joint_map, inputs.anchors))
        copies, targets = anomalous_patches(constant(inputs.pseudo_patches), inputs.targets)
        if settings.blend == "unit":
            original, copies = F.normalize(original, dim=-1), F.normalize(copies, dim=-1)
        rho, temperature = settings.residual, inputs.temperature

        def loss(adapter: Sequence[Tensor]) -> Tensor:
            """Return the weighted sum of eq. 10 and 11 for every image."""
            weight, bias = adapter
            anomalous = state_logits(apply_adapter(copies, weight, bias, rho), anchors, temperature)
            scores = text_score(apply_adapter(original, weight, bias, rho), anchors, temperature)
            return (settings.anomaly_weight * anomaly_loss(anomalous, targets)
                    + settings.consistency_weight * consistency_loss(scores, joint_map))  # fmt: skip

        start = identity_adapter(len(original), original.shape[-1], original.device)
        adapted = adapt(start, loss, settings.steps, settings.learning_rate, settings.weight_decay)
        with torch.no_grad():
            weight, bias = adapted.parameters
            maps = text_score(apply_adapter(original, weight, bias, rho), anchors, temperature)
        if settings.steps:
            require_finite(maps, lower_rate(settings.learning_rate))
        return maps, adapted

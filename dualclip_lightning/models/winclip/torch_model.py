"""Torch module of WinCLIP and WinCLIP+ (arXiv 2303.14814)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.backbone import WindowEncoder, WindowFeatures
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.scoring import (
    DRAWINGS,
    MapDrawing,
    association_score,
    draw,
    harmonic_map,
    harmonic_mean,
    joint_score,
    text_score,
)

BANK_BATCH = 4
"""Number of reference images that are encoded at once."""


class WinCLIPModel(AnchoredModel):
    """Torch module of WinCLIP, and of WinCLIP+ after a call of `set_references`.

    Args:
        encoder: module that returns the embeddings of the image and of all its windows.
        temperature: temperature of the softmax over the two states; above 0.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self, encoder: WindowEncoder, temperature: float = 0.07, drawing: MapDrawing = DRAWINGS["winclip"]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.temperature = temperature
        self.drawing = drawing
        self.references: list[Tensor] = []
        self.reference_names: list[str] = []

    def set_references(self, images: Tensor, names: Sequence[str] = ()) -> None:
        """Encode the patches and windows of normal images [K, 3, H, W]; zero images [0, ...] mean zero-shot.

        `names` are their paths, which prevent an image from being its own reference.
        """
        parts = [visual_features(self.encoder(part)) for part in images.split(BANK_BATCH)] if len(images) else []
        self.references = [torch.cat(scale).flatten(1, -2) for scale in zip(*parts, strict=True)]
        self.reference_names = [os.path.realpath(name) for name in names]

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W]; `names` are their paths, if known."""
        anchors, features = self.require_anchors(), self.encoder(images)
        scores = text_score(features.class_embedding, anchors, self.temperature)
        maps = self._text_map(features, anchors, scores)
        if self.references:
            own = self._own_references(names, len(images)).to(images.device)
            visual = self._visual_map(features, own)
            alone = own.all(dim=0)  # an image that is the only reference gets its text score
            scores = scores.where(alone, joint_score(scores, visual.flatten(1).amax(dim=1), 0.5))
            maps = maps.where(alone[:, None, None], joint_score(maps, visual, 0.5))
        drawn = draw(maps, (images.shape[-2], images.shape[-1]), self.drawing)
        return InferenceBatch(pred_score=scores, anomaly_map=drawn)

    def _text_map(self, features: WindowFeatures, anchors: Tensor, scores: Tensor) -> Tensor:
        """Return the harmonic mean over the whole image and the scales of windows [B, h, w]."""
        grid = features.patch_tokens.shape[1], features.patch_tokens.shape[2]
        windows = [text_score(embedding, anchors, self.temperature) for embedding in features.window_embeddings]
        return harmonic_mean([scores[:, None, None], *(harmonic_map(score, grid) for score in windows)])

    def _own_references(self, names: Sequence[str], batch: int) -> Tensor:
        """Mark the references that are the image itself [K, B]."""
        own = [os.path.realpath(name) for name in names]
        if not own or not self.reference_names:
            return torch.zeros(len(self.references[0]), batch, dtype=torch.bool)
        return torch.tensor([[name == mine for mine in own] for name in self.reference_names])

    def _visual_map(self, features: WindowFeatures, own: Tensor) -> Tensor:
        """Return the distance to the references except `own`, averaged over patches and scales of windows [B, h, w]."""
        grid = features.patch_tokens.shape[1], features.patch_tokens.shape[2]
        pairs = zip(visual_features(features), self.references, strict=True)
        return torch.stack([harmonic_map(_nearest(f, r.to(f), own), grid) for f, r in pairs]).mean(dim=0)


def _nearest(embeddings: Tensor, references: Tensor, own: Tensor) -> Tensor:
    """Return the distance of embeddings [B, h', w', D] to the nearest of references [K, P, D], except `own` [K, B].

    It is infinite if all references are excluded.
    """
    distances = torch.stack([association_score(embeddings, reference) for reference in references])
    return distances.masked_fill(own[..., None, None], torch.inf).amin(dim=0)


def visual_features(features: WindowFeatures) -> tuple[Tensor, ...]:
    """Return the features that WinCLIP+ compares: patches (windows of one), then windows, each [B, h', w', .]."""
    return features.patch_tokens, *features.window_embeddings

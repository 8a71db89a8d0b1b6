"""Torch module of AnoCLIP (arXiv 2308.15939)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.adaptation import image_seeds
from dualclip_lightning.adaptation.anoclip import (
    RESIDUAL,
    Adapter,
    adapt_to_noise,
    apply_text_adapter,
    enlarge_tiles,
    sample_adapter,
    sample_noise,
)
from dualclip_lightning.adaptation.dual_image import apply_adapter
from dualclip_lightning.adaptation.loop import OptimizerMemory
from dualclip_lightning.backbone import ClassEncoder, DualPathVisionEncoder
from dualclip_lightning.models.anoclip.views import augmented_views
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, cut_tiles, draw, join_tiles, text_score
from dualclip_lightning.utilities.arguments import check_from_zero, check_whole

AdapterKind = Literal["text", "linear"]
VIEW_BATCH = 32
"""Approximate number of views that are encoded at once."""


@dataclass(frozen=True)
class NoiseSettings:
    """Settings of AnoCLIP's adaptation, as in the released code."""

    steps: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    noise: float = 0.055
    """Standard deviation of the noise that is added to the tokens."""

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 0)
        for name, value in vars(self).items():
            check_from_zero(name, value)


class AnoCLIPModel(AnchoredModel):
    """Torch module of AnoCLIP.

    Args:
        encoder: module that returns class and V-V patch embeddings of a batch.
        settings: settings of the adaptation; 0 steps for none.
        temperature: temperature of the softmax over the two states; above 0.
        views: whether the image score is the mean over 22 views.
        carry_optimizer: whether AdamW's state is carried from image to image.
        seed: seed of noise and adapters.
        adapter: "text" over the text embeddings, or "linear", without them.
        tiles: whether an image is scored as the two squares at its ends, whose scores and maps are averaged.
        drawing: how a map of patches is drawn in pixels.
    """

    def __init__(
        self,
        encoder: DualPathVisionEncoder,
        settings: NoiseSettings | None = None,
        temperature: float = 1.0,
        views: bool = True,
        carry_optimizer: bool = False,
        seed: int = 0,
        adapter: AdapterKind = "text",
        tiles: bool = False,
        drawing: MapDrawing = DRAWINGS["anoclip"],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_encoder = ClassEncoder(encoder.visual)
        self.settings = settings or NoiseSettings()
        self.temperature = temperature
        self.views = views
        self.seed = seed
        self.adapter = adapter
        self.tiles = tiles
        self.drawing = drawing
        self.memory: OptimizerMemory | None = {} if carry_optimizer else None
        self.texts: tuple[Tensor, Tensor] | None = None

    def forget(self) -> None:
        """Reset AdamW's state, also if it is carried from image to image."""
        if self.memory is not None:
            self.memory = {}

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of images [B, 3, H, W]; seeds come from names, or from pixels."""
        anchors, size = self.require_anchors(), (images.shape[-2], images.shape[-1])
        tiles = cut_tiles(images) if self.tiles else images.unsqueeze(1)
        features = self.encoder(tiles.flatten(0, 1))
        classes = [features.class_embedding[None], *([self._encode_views(tiles.flatten(0, 1))] if self.views else [])]
        scores = text_score(torch.cat(classes), anchors, self.temperature).mean(dim=0)
        tokens = features.patch_embeddings.unflatten(0, tiles.shape[:2])
        if self.settings.steps:
            maps = self._adapted_map(tokens, image_seeds(self.seed, "noise", images, names), size)
        else:
            maps = text_score(tokens, anchors, self.temperature)
        scores = scores.unflatten(0, tiles.shape[:2]).mean(dim=1)
        return InferenceBatch(pred_score=scores, anomaly_map=self._draw(maps, size))

    def _draw(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Draw maps [B, H, W] of images from those of their tiles [B, T, h, w]."""
        side = (min(size), min(size)) if self.tiles else size
        drawn = draw(maps.flatten(0, 1), side, self.drawing)
        return join_tiles(drawn.unflatten(0, maps.shape[:2]), size) if self.tiles else drawn

    def _encode_views(self, images: Tensor) -> Tensor:
        """Return the class embeddings of all views except the image itself [21, B, D]."""
        views = augmented_views(images)[1:]
        parts = views.flatten(0, 1).split(VIEW_BATCH)
        return torch.cat([self.class_encoder(part) for part in parts]).unflatten(0, views.shape[:2])

    def _adapted_map(self, tokens: Tensor, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Return the text map of the adapted tokens [B, T, h, w], one image at a time if they share AdamW's state."""
        count = len(tokens) if self.memory is None else 1
        groups = zip(tokens.split(count), [seeds[i : i + count] for i in range(0, len(seeds), count)], strict=True)
        return torch.cat([self._adapt(part, own, size) for part, own in groups])

    def _adapt(self, tokens: Tensor, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
        chosen, (apply, outputs) = self.settings, self._adapter(tokens)
        adapters = [sample_adapter(seed, outputs, tokens.shape[-1]) for seed in seeds]
        noises = [sample_noise(seed + 1, chosen.steps, tokens.shape[1:], chosen.noise) for seed in seeds]
        weight, bias = (torch.stack(part).to(tokens.device) for part in zip(*adapters, strict=True))
        noise = [torch.stack(step).to(tokens.device) for step in zip(*noises, strict=True)]
        return adapt_to_noise(
            tokens,
            noise,
            self.require_anchors(),
            apply,
            (weight, bias),
            self.temperature,
            chosen.learning_rate,
            chosen.weight_decay,
            self.memory,
            partial(enlarge_tiles, size=size) if self.tiles else None,
        )[0]

    def _adapter(self, tokens: Tensor) -> tuple[Adapter, int]:
        """Return the adapter of the tokens, and the number of outputs of its linear layer."""
        if self.adapter == "linear":
            return partial(apply_adapter, residual=RESIDUAL), tokens.shape[-1]
        if self.texts is None:
            msg = "The text embeddings are not set. Call set_class_name(...) first."
            raise RuntimeError(msg)
        texts = torch.cat(self.texts).to(tokens.device)
        return partial(apply_text_adapter, texts=texts), len(texts)

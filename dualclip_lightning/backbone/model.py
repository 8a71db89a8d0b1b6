"""Frozen model with its tokenizer, preprocessing, name and origin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.backbone.encoders.tower import check_tower
from dualclip_lightning.backbone.preprocessing import Preprocessing
from dualclip_lightning.backbone.text import encode_texts


@dataclass(frozen=True, eq=False)
class Backbone:
    """CLIP model in evaluation mode, without gradients, with its tokenizer, preprocessing, name and origin."""

    clip: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocessing: Preprocessing
    name: str
    """Architecture, or the source that names it."""
    weights: str
    """Weights tag, path, or "demo"."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Origin of the weights: `repository`, `file` and `revision` on the hub, a `url`, or a `path`."""

    @property
    def visual(self) -> VisionTransformer:
        """The vision tower."""
        return check_tower(self.clip.visual)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all layers by type and of all weights by name, shape and value.

        Backbones with the same digest yield the same image embeddings; the weights alone would not distinguish GELU
        from QuickGELU. For texts see `text_digest`.
        """
        layers = [(type(layer).__name__, getattr(layer, "num_heads", None)) for layer in self.clip.modules()]
        return weights_digest(self.clip, repr(layers))

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 of everything that text embeddings depend on: `digest`, the pooled token, and the tokenizer.

        The tokenizer is represented by its tokens of a sentence with capitals, punctuation, a hyphen and a rare word.
        """
        towers = (self.clip, getattr(self.clip, "text", None))
        names = ("text_pool_type", "pool_type", "text_eos_id", "eos_id", "context_length")
        settings = [getattr(tower, name, None) for tower in towers for name in names]
        tokens = self.tokenizer(["A cropped photo of the flawless metal-nut, without any Perlinesque damage."]).tolist()
        return hashlib.sha256(repr((self.digest, settings, tokens)).encode()).hexdigest()

    def identity(self) -> dict[str, str]:
        """Return name, weights and digest, on which scores depend, to store with results; see also `origin`."""
        return {"backbone": self.name, "weights": self.weights, "weights_sha256": self.digest}

    def encode_text(self, texts: list[str]) -> Tensor:
        """Return text embeddings [P, D], not normalised."""
        return encode_texts(self.clip, self.tokenizer, texts)

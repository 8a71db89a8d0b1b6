"""A frozen model with what is needed to use and to cite it."""

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
    """A CLIP model in evaluation mode, without gradients, and what is needed to use and to cite it."""

    clip: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocessing: Preprocessing
    name: str
    """Architecture, or the source that names it."""
    weights: str
    """Weights tag, path, or "demo"."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where the weights are from: `repository`, `file` and `revision` of the hub, a `url`, or a `path`."""

    @property
    def visual(self) -> VisionTransformer:
        """The vision tower."""
        return check_tower(self.clip.visual)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all layers by kind and all weights by name, shape and value.

        Backbones with one digest give the same image embeddings; weights alone would not tell GELU from QuickGELU. For
        texts see `text_digest`.
        """
        layers = [(type(layer).__name__, getattr(layer, "num_heads", None)) for layer in self.clip.modules()]
        return weights_digest(self.clip, repr(layers))

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 of what text embeddings depend on: `digest`, the token they are read from, and the tokenizer.

        The tokenizer is known by what it makes of a sentence with capitals, punctuation, a hyphen and a rare word.
        """
        towers = (self.clip, getattr(self.clip, "text", None))
        names = ("text_pool_type", "pool_type", "text_eos_id", "eos_id", "context_length")
        settings = [getattr(tower, name, None) for tower in towers for name in names]
        tokens = self.tokenizer(["A cropped photo of the flawless metal-nut, without any Perlinesque damage."]).tolist()
        return hashlib.sha256(repr((self.digest, settings, tokens)).encode()).hexdigest()

    def encode_text(self, texts: list[str]) -> Tensor:
        """Text embeddings [P, D], not normalised."""
        return encode_texts(self.clip, self.tokenizer, texts)

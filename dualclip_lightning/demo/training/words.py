"""Names of the training images in the captions for the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP, get_tokenizer
from torch import Tensor

from dualclip_lightning.backbone.text import encode_tokens
from dualclip_lightning.prompts import WORDINGS, class_words, prompt_ensemble
from dualclip_lightning.prompts.ensemble import ARTICLES, PHRASES

OTHER_WORDS = (
    "object", "surface", "texture", "material", "product", "part", "bottle", "cable", "capsule", "hazelnut",
    "metal nut", "pill", "screw", "toothbrush", "transistor", "zipper", "leather", "grid", "candle", "steel plate",
    "circuit board",
)  # fmt: skip
"""Words that sometimes replace the class, so that the state words decide for unseen classes."""


def captions(domain: str) -> list[str]:
    """Return the templates of the training captions for objects or textures, which are those of the method.

    They have "a industrial photo" instead of the method's "an", because the embedded model was trained with them.
    """
    words = WORDINGS["anoclip"]
    nouns = words.object_nouns if domain == "object" else words.texture_nouns
    parts = product(PHRASES, nouns, ARTICLES)
    return ["a " + phrase.format(noun=noun, article=article, state="{}") for phrase, noun, article in parts]


class Words:
    """Text anchors of names, computed from a few random prompts at a time.

    Args:
        clip: model whose text tower is trained with them.
        rng: generator that selects prompts and other words.
        prompts: number of prompts per state.
    """

    def __init__(self, clip: CLIP, rng: np.random.Generator, prompts: int) -> None:
        self.clip, self.rng, self.prompts = clip, rng, prompts
        self.tokenizer = get_tokenizer("ViT-B-32")

    def anchors(self, names: Sequence[str]) -> Tensor:
        """Return the anchors [C, 2, D] (normal, anomalous)."""
        texts: list[str] = []
        for name in names:
            templates = captions(str(self.rng.choice(["object", "texture"])))
            for prompts in prompt_ensemble(class_words(name), templates=templates):
                texts += [prompts[i] for i in self.rng.integers(0, len(prompts), self.prompts)]
        embeddings = F.normalize(encode_tokens(self.clip, self.tokenizer(texts)), dim=-1)
        return F.normalize(embeddings.unflatten(0, (len(names), 2, self.prompts)).mean(2), dim=-1)

    def say(self, name: str) -> str:
        """Return the name or, equally often, another word."""
        return str(self.rng.choice(OTHER_WORDS)) if self.rng.random() < 0.5 else name  # noqa: PLR2004

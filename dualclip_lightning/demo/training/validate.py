"""Validation of a model on synthetic images with scenes, materials and kinds of defects excluded from training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP, get_tokenizer
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from dualclip_lightning.backbone import DualPathFeatures, DualPathVisionEncoder
from dualclip_lightning.backbone.text import encode_texts
from dualclip_lightning.demo.training.frozen import on_maps
from dualclip_lightning.demo.training.losses import DAMAGED
from dualclip_lightning.demo.training.seen import Seen
from dualclip_lightning.prompts import class_words, prompt_ensemble
from dualclip_lightning.scoring import image_score, joint_score, reference_score, text_score

TEMPERATURE = 0.07
"""The default of `DualImageCLIP`."""
VARIANTS: Mapping[str, tuple[float, float, int]] = {
    "text": (1.0, 0.5, 1),
    "reference": (0.0, 0.0, 1),
    "reference, K=4": (0.0, 0.0, 4),
    "joint": (0.5, 0.5, 1),
    "joint, K=4": (0.5, 0.5, 4),
}
"""Weight of the text map, weight of the class token, and references per image, as in `DualImageCLIP`."""


def validate(clip: CLIP, seen: Seen, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return image AUROC and patch AUROC by variant, as means over groups; every group is one test set.

    The last variant, "frozen", is the reference score of the stem's own channels with one reference.
    """
    figures: dict[str, list[tuple[float, float]]] = {}
    for name, scores, maps, share in _scores(clip, seen, np.random.default_rng(seed)):
        clear = (share == 0) | (share > DAMAGED)
        image = binary_auroc(scores, (share.flatten(1).amax(1) > 0).long()).item()
        patch = binary_auroc(maps[clear], (share[clear] > 0).long()).item()
        figures.setdefault(name, []).append((image, patch))
    return {name: (mean(i for i, _ in pairs), mean(p for _, p in pairs)) for name, pairs in figures.items()}


@torch.no_grad()
def _scores(clip: CLIP, seen: Seen, rng: np.random.Generator) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    encoder, tokenizer, tokens = DualPathVisionEncoder(clip.visual), get_tokenizer("ViT-B-32"), clip.visual.conv1[1]
    for maps, share, names in zip(seen.maps, seen.share, seen.names, strict=True):
        with on_maps(clip):
            features = encoder(maps.float())
        others = np.stack([rng.permutation(np.delete(np.arange(len(maps)), own))[:4] for own in range(len(maps))])
        anchors = torch.stack(
            [
                F.normalize(encode_texts(clip, tokenizer, prompts), dim=-1).mean(0)
                for prompts in prompt_ensemble(class_words(names[0]))
            ]
        )
        class_score = text_score(features.class_embedding, anchors, TEMPERATURE)
        for name, (alpha, weight, count) in VARIANTS.items():
            score_map = _joint_map(features, torch.as_tensor(others[:, :count]), anchors, alpha)
            yield name, image_score(class_score, score_map, weight), score_map, share
        own = tokens(maps.float())[:, -tokens.kept :].movedim(1, -1)
        frozen = reference_score(own, own[torch.as_tensor(others[:, :1])])
        yield "frozen", frozen.flatten(1).amax(1), frozen, share


def _joint_map(features: DualPathFeatures, references: Tensor, anchors: Tensor, alpha: float) -> Tensor:
    patches = features.patch_embeddings
    text = text_score(patches, anchors, TEMPERATURE)
    return text if alpha == 1 else joint_score(text, reference_score(patches, patches[references]), alpha)

"""A CLIP over a frozen stem, in which no layer changes the last channels.

The last channels of every token are the stem's own map (`backbone.stem`). No layer writes to them, and the projection
copies them to the last entries of the embedding, where text embeddings are zero. The reference score (eq. 5) thus
compares the features of the pretrained network in addition to the learned ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from open_clip import CLIP
from torch import Tensor

from dualclip_lightning.backbone.stem import STEM_CONFIG, StemFeatures, add_stem
from dualclip_lightning.demo.training.seen import Seen


def new_clip(config: Mapping[str, Any], weights: Mapping[str, Tensor], seed: int) -> CLIP:
    """Return a CLIP with random weights, drawn from the seed, over a frozen stem with pretrained weights.

    Args:
        config: configuration of a model folder, with a `stem_cfg`.
        weights: state dict of the whole network whose first layers are the stem.
        seed: seed of the other weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = add_stem(CLIP(**config["model_cfg"]), config[STEM_CONFIG])
    network = stem_features(clip).network
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    stem_features(clip).eval().requires_grad_(requires_grad=False)
    return clip


def stem_features(clip: CLIP) -> StemFeatures:
    """Return the frozen part of the stem."""
    features: StemFeatures = clip.visual.conv1[0]
    return features


def published_weights(model: str, file: Path) -> dict[str, Tensor]:
    """Return a state dict under timm's names from a file with the same tensors in the same order under other names.

    Raises:
        ValueError: the number of tensors or their shapes differ.
    """
    own = timm.create_model(model, pretrained=False).state_dict()
    read = torch.load(file, map_location="cpu", weights_only=True)
    if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in read.values()]:
        msg = f"'{file}' does not hold the weights of {model}."
        raise ValueError(msg)
    return dict(zip(own, read.values(), strict=True))


def standardise(clip: CLIP, maps: Tensor) -> None:
    """Set mean and deviation of the stem's channels to those of maps [..., C, h, w] made while they were 0 and 1."""
    values = maps.float().movedim(-3, 0).flatten(1)
    features = stem_features(clip)
    features.mean.copy_(values.mean(1)[:, None, None])
    features.std.copy_(values.std(1)[:, None, None])


def standardised(clip: CLIP, seen: Seen) -> Seen:
    """Standardise maps that the stem computed while its mean and deviation were 0 and 1."""
    features = stem_features(clip)
    for group in seen.maps:  # in place, because they take a gigabyte
        group.copy_((group.float() - features.mean) / features.std)
    return seen


@contextmanager
def on_maps(clip: CLIP) -> Iterator[CLIP]:
    """Context in which the model takes the stem's maps instead of images."""
    visual = clip.visual
    whole, patch = visual.conv1, visual.patch_size
    visual.conv1, visual.patch_size = whole[1], (1, 1)  # a map has one place for each patch
    try:
        yield clip
    finally:
        visual.conv1, visual.patch_size = whole, patch


@torch.no_grad()
def keep_channels(clip: CLIP, kept: int, scale: float) -> None:
    """Undo the changes of a training step to the kept channels.

    Args:
        clip: the model.
        kept: number of kept channels.
        scale: factor of the kept entries of an embedding, relative to their values after the last normalisation.
    """
    visual = clip.visual
    for block in visual.transformer.resblocks:
        for layer in (block.attn.out_proj, block.mlp.c_proj):
            layer.weight[-kept:] = 0
            layer.bias[-kept:] = 0
    visual.class_embedding[-kept:] = 0
    visual.positional_embedding[:, -kept:] = 0
    for norm in (visual.ln_pre, visual.ln_post):
        norm.weight[-kept:] = 1
        norm.bias[-kept:] = 0
    visual.proj[:, -kept:] = 0
    visual.proj[-kept:, -kept:] = scale * torch.eye(kept)
    clip.text_projection[:, -kept:] = 0

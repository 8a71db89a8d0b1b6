"""Convolutional stem that replaces a vision transformer's patch convolution.

"Early Convolutions Help Transformers See Better" (arXiv 2106.14881) replaces the patch embedding by convolutions. Here
they are the first stages of a network of timm, whose pretrained weights stay frozen, followed by an ordinary
`open_clip.transformer.VisionTransformer`. open_clip's configuration has no entry for this, so the folder's
open_clip_config.json contains an additional one, `stem_cfg`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP
from safetensors.torch import load_file
from torch import Tensor, nn

STEM_CONFIG = "stem_cfg"
WEIGHTS_FILE = "open_clip_model.safetensors"


class StemFeatures(nn.Module):
    """Feature maps of some stages of a network, averaged to the last one's grid, concatenated and standardised.

    Args:
        model: a timm architecture that can return the maps of its stages.
        stages: numbers of the stages, finest first; the last one's grid is the patch grid.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, stages: Sequence[int]) -> None:
        super().__init__()
        network: Any = timm.create_model(model, pretrained=False)
        self.stages: list[int] = network.prune_intermediate_layers(list(stages), prune_head=True)
        self.channels: list[int] = [network.feature_info[stage]["num_chs"] for stage in stages]
        self.network = network
        self.register_buffer("mean", torch.zeros(sum(self.channels), 1, 1))
        self.register_buffer("std", torch.ones(sum(self.channels), 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute standardised maps: [B, 3, H, W] -> [B, C, h, w]."""
        return self.coarse(self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the map of each stage as it is: [B, 3, H, W] -> [B, C', h', w'], finest first."""
        images = images.contiguous(memory_format=torch.channels_last)  # halves the time of depthwise convolutions
        network: Any = self.network
        found: list[Tensor] = network.forward_intermediates(images, self.stages, intermediates_only=True)
        return found

    def coarse(self, maps: Sequence[Tensor]) -> Tensor:
        """Join maps on the last one's grid, over which finer ones are averaged: [B, C, h, w], standardised."""
        height, width = maps[-1].shape[-2:]
        joined = [F.adaptive_avg_pool2d(each, (height, width)) for each in maps]
        return (torch.cat(joined, dim=1) - self.mean) / self.std

    def standardised(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Standardise maps, each on its own grid [B, C', h', w']."""
        means, deviations = self.mean.split(self.channels), self.std.split(self.channels)
        return [(own - mean) / std for own, mean, std in zip(maps, means, deviations, strict=True)]


class StemTokens(nn.Module):
    """Tokens of standardised maps: learned channels first, then those of the last stage, averaged over 3x3 neighbours.

    Distances between tokens thus always reflect the features of the pretrained network.

    Args:
        channels: number of channels of all maps together.
        kept: number of channels of the last map.
        width: number of channels of a token.

    Raises:
        ValueError: the tokens are too narrow for the last stage's map.
    """

    def __init__(self, channels: int, kept: int, width: int) -> None:
        super().__init__()
        if width <= kept:
            msg = f"Tokens of {width} channels cannot hold the {kept} of the stem's last stage. Set a larger width."
            raise ValueError(msg)
        self.kept = kept
        self.project = nn.Conv2d(channels, width - kept, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Compute tokens: [B, C, h, w] -> [B, width, h, w]."""
        near = F.avg_pool2d(features[:, -self.kept :], 3, stride=1, padding=1, count_include_pad=False)
        return torch.cat([self.project(features), near], dim=1)


class ConvStem(nn.Sequential):
    """Patch embedding by the first stages of a convolutional network: images [B, 3, H, W] -> [B, width, h, w].

    Args:
        model: a timm architecture.
        stages: numbers of the stages, as in `StemFeatures`.
        width: number of channels of a token.

    Raises:
        ValueError: same as in `StemTokens`.
    """

    def __init__(self, model: str, stages: Sequence[int], width: int) -> None:
        features = StemFeatures(model, stages)
        super().__init__(features, StemTokens(sum(features.channels), features.channels[-1], width))


def add_stem(clip: CLIP, stem: Mapping[str, Any]) -> CLIP:
    """Replace the patch convolution of a CLIP's vision tower by a `ConvStem`, and return the model."""
    clip.visual.conv1 = ConvStem(**stem, width=clip.visual.conv1.out_channels)
    return clip


def load_with_stem(folder: Path, config: Mapping[str, Any]) -> CLIP:
    """Load the model of a folder whose configuration has a `stem_cfg`.

    Raises:
        OSError: the weights cannot be read.
        RuntimeError: the weights do not fit the configuration.
    """
    clip = add_stem(CLIP(**config["model_cfg"]), config[STEM_CONFIG])
    clip.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return clip

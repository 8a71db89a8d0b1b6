"""Pseudo anomalies: a foreign texture blended into the image (DRAEM, arXiv 2108.07610, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualclip_lightning.adaptation.masks import perlin_mask
from dualclip_lightning.adaptation.settings import AdaptationSettings
from dualclip_lightning.adaptation.textures import TextureSource
from dualclip_lightning.utilities.seeding import derive_seed


class PseudoAnomalies(NamedTuple):
    """Copies of the images of a batch, each with a synthetic anomaly."""

    images: Tensor
    """[B, 3, H, W], normalised as the originals and equal to them outside the masks"""
    masks: Tensor
    """[B, H, W], booleans; never empty, never full"""


def pseudo_anomalies(
    images: Tensor,
    seeds: Sequence[int],
    source: TextureSource,
    mean: Sequence[float],
    std: Sequence[float],
    settings: AdaptationSettings,
) -> PseudoAnomalies:
    """Blend a texture into every image; inside its mask the result is `(1 - opacity) * image + opacity * texture`.

    The result for an image depends only on its own seed. Blending normalised images with a normalised texture is
    equivalent to blending pixels, so the results are valid images.

    Args:
        images: [B, 3, H, W], normalised.
        seeds: one seed per image.
        source: source of the textures.
        mean: mean of the normalisation, three numbers.
        std: standard deviation of the normalisation, three numbers.
        settings: ranges of area and opacity.

    Raises:
        ValueError: the numbers of seeds and images differ.
    """
    if len(seeds) != len(images):
        msg = f"Expected one seed for each of the {len(images)} images, but got {len(seeds)}."
        raise ValueError(msg)
    size = (images.shape[-2], images.shape[-1])
    masks = torch.stack([perlin_mask(size, derive_seed(seed, "mask"), settings.mask_area) for seed in seeds])
    textures = torch.stack([source.sample(size, derive_seed(seed, "texture")) for seed in seeds])
    textures = (textures - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    opacity = torch.tensor([np.random.default_rng([seed, 1]).uniform(*settings.opacity) for seed in seeds])
    masks, textures = masks.to(images.device), textures.to(images)
    blended = torch.lerp(images, textures, opacity.to(images).view(-1, 1, 1, 1))
    return PseudoAnomalies(torch.where(masks.unsqueeze(1), blended, images), masks)

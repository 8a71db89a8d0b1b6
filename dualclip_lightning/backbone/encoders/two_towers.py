"""The dual-path encoder of CLIP, with another tower for the comparison of images with references."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.backbone.checkpoints.choosing import DEFAULT_WEIGHTS
from dualclip_lightning.backbone.encoders.dual_path import DualPathFeatures, DualPathVisionEncoder
from dualclip_lightning.backbone.encoders.intermediate import IntermediateEncoder, intermediate_encoder
from dualclip_lightning.backbone.encoders.layers import relative_blocks
from dualclip_lightning.backbone.encoders.stage_tower import StageTower
from dualclip_lightning.backbone.encoders.stem_path import StemPathEncoder
from dualclip_lightning.backbone.encoders.timm_tower import TimmIntermediateEncoder, TimmTower
from dualclip_lightning.backbone.encoders.tower import patch_grid
from dualclip_lightning.backbone.loading import load_backbone
from dualclip_lightning.backbone.model import Backbone
from dualclip_lightning.backbone.preprocessing import Preprocessing
from dualclip_lightning.backbone.resizing import resize
from dualclip_lightning.utilities.arguments import check_text
from dualclip_lightning.weights import WeightsError

logger = logging.getLogger(__name__)


class TwoTowerEncoder(nn.Module):
    """Class and patch embeddings of CLIP, and layers of another tower, which sees the same images.

    The other tower gets every image with as many of its own patches as CLIP has, so that the patches of both are at
    the same places: an image of 240x240 pixels, 15x15 patches of 16, becomes one of 210x210 for a tower with patches of
    14. A larger image size gives both more patches.

    Args:
        dual: encoder of CLIP.
        reference: encoder of the other tower, which returns its layers.
        pixels: preprocessing of the images.
        wanted: preprocessing of the other tower, of which mean and standard deviation are used.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        dual: DualPathVisionEncoder,
        reference: IntermediateEncoder | TimmIntermediateEncoder,
        pixels: Preprocessing,
        wanted: Preprocessing,
    ) -> None:
        super().__init__()
        self.dual = dual
        self.reference = reference
        scale = torch.tensor(pixels.std) / torch.tensor(wanted.std)
        shift = (torch.tensor(pixels.mean) - torch.tensor(wanted.mean)) / torch.tensor(wanted.std)
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)
        self.interpolation = wanted.interpolation

    @property
    def visual(self) -> VisionTransformer:
        """The vision tower of CLIP."""
        return self.dual.visual

    def forward(self, images: Tensor) -> DualPathFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of CLIP's patch size."""
        return self.dual(images)._replace(layers=self.reference(self._other(images)).layers)

    def patch_embeddings(self, images: Tensor) -> Tensor:
        """Return the patch embeddings [B, h, w, D] of CLIP, without the other tower."""
        return self.dual.patch_embeddings(images)

    def _other(self, images: Tensor) -> Tensor:
        """Return the images in the size and normalisation of the other tower."""
        height, width = patch_grid(self.dual.visual, images.shape[-2], images.shape[-1])
        rows, columns = self.reference.visual.patch_size
        size = [height * rows, width * columns]
        patch_grid(self.reference.visual, *size)  # refuses images of a size that the other tower does not take
        resized = images if size == list(images.shape[-2:]) else resize(images, size, self.interpolation)
        return resized * self.scale + self.shift


ReferenceEncoder = DualPathVisionEncoder | StemPathEncoder | TwoTowerEncoder
"""Encoders of what is compared with texts and of what is compared with references."""


def reference_encoder(
    visual: nn.Module,
    vv_blocks: Sequence[int] | None,
    layers: Sequence[float],
    path: Literal["vv", "ordinary", "stem"],
    pixels: Preprocessing,
    backbone: Backbone | None,
) -> ReferenceEncoder:
    """Return the encoder of CLIP, or of CLIP and another tower whose layers are compared with references.

    Args:
        visual: the vision tower of CLIP.
        vv_blocks: numbers of the blocks in its V-V stream; None for all.
        layers: depths of the compared layers, as shares of the blocks in (0, 1].
        path: stream of these layers in CLIP, or "stem" for its convolutional stem instead of layers.
        pixels: preprocessing of the images.
        backbone: the other tower; None for CLIP alone.

    Raises:
        ValueError: the tower is unsupported, or does not have a block or a stem.
    """
    if path == "stem":
        return StemPathEncoder(visual, vv_blocks)
    if backbone is None:
        return DualPathVisionEncoder(visual, vv_blocks, layers, path)
    depth = _depth(backbone.visual)
    blocks = relative_blocks(depth, layers)
    if isinstance(backbone.visual, StageTower) and blocks == (depth,):
        logger.warning(
            "reference_layers selects only the last stage of '%s', which is specific to the classes that it was "
            "trained on. Set reference_layers to [0.5, 0.75], the stages of strides 8 and 16 of most networks.",
            backbone.name,
        )
    other = intermediate_encoder(backbone.visual, blocks, embed=False)
    # CLIP's own layers are not compared, so they are not computed.
    return TwoTowerEncoder(DualPathVisionEncoder(visual, vv_blocks), other, pixels, backbone.preprocessing)


def _depth(visual: VisionTransformer | TimmTower) -> int:
    """Return the number of blocks of a tower."""
    return visual.depth if isinstance(visual, TimmTower) else len(visual.transformer.resblocks)


def load_reference_backbone(backbone: str | None, pretrained: str, seed: int) -> Backbone | None:
    """Load the other tower; None if there is none.

    Raises:
        ValueError: Same as `load_backbone`.
        WeightsError: the weights cannot be obtained.
    """
    if backbone is None:
        return None
    try:
        return load_backbone(backbone, pretrained, seed=seed)
    except (ValueError, WeightsError) as error:
        msg = f"reference_backbone '{backbone}' with reference_pretrained '{pretrained}': {error}"
        raise type(error)(msg) from error


def check_reference_backbone(backbone: str | None, pretrained: str, path: str) -> None:
    """Check the arguments of the other tower before anything is loaded.

    Raises:
        ValueError: a name is no text, or the V-V path or a stem is asked for of another tower than CLIP.
    """
    if backbone is not None:
        check_text("reference_backbone", backbone, "timm:vit_base_patch14_reg4_dinov2.lvd142m")
    check_text("reference_pretrained", pretrained, DEFAULT_WEIGHTS)
    if backbone is not None and path != "ordinary":
        what = "The V-V path" if path == "vv" else "The stem"
        msg = f"{what} is that of CLIP. Set reference_path to 'ordinary' where reference_backbone is set."
        raise ValueError(msg)

"""Vision transformers of timm, such as DINOv2 and DINOv3, read after several of their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders.layers import IntermediateFeatures

EXAMPLE = "vit_small_patch14_reg4_dinov2.lvd142m"
"""Example of a usable model of timm."""


class TimmTower(nn.Module):
    """Wrapper that reads features of a vision transformer of timm without changing it.

    timm separates patch tokens from class and register tokens, and interpolates position embeddings to the size of
    the images. The image embedding is the input of timm's classifier: the class token, or a pooled token.

    Args:
        model: model of `timm.create_model`.
    """

    usual_layers: tuple[int, ...] | None = None
    """Numbers of the layers that methods read unless others are chosen; None for those of each method."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        height, width = self.model.patch_embed.patch_size
        return int(height), int(width)

    @property
    def only_size(self) -> tuple[int, int] | None:
        """Height and width of the only images that the model takes; None if it takes other sizes."""
        embed = self.model.patch_embed
        return tuple(embed.img_size) if getattr(embed, "strict_img_size", False) and embed.img_size else None

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.model.blocks)

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Fix the position embeddings to those of a grid of patches, in place."""
        if tuple(self.model.patch_embed.grid_size) != grid:
            height, width = self.patch_size
            self.model.set_input_size((grid[0] * height, grid[1] * width))

    def forward(self, images: Tensor, layers: Sequence[int], norm: bool, embed: bool = True) -> IntermediateFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size.

        Args:
            images: images [B, 3, H, W].
            layers: numbers of the selected blocks, counted from 1, in ascending order.
            norm: whether the last layer norm of the model is applied to the tokens of every layer.
            embed: whether the image embedding is computed, which needs all blocks; it is [B, 0] if not.
        """
        embedding, read = self._read(images, [number - 1 for number in layers], norm, embed)
        return IntermediateFeatures(embedding, tuple(layer.permute(0, 2, 3, 1) for layer in read))

    def _read(
        self, images: Tensor, indices: Sequence[int] | None, norm: bool, embed: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the image embedding and the maps [B, C, h, w] of blocks, counted from 0; None for all blocks."""
        chosen: dict[str, Any] = {"indices": indices, "norm": norm, "output_fmt": "NCHW"}
        if not embed:
            read = self.model.forward_intermediates(images, **chosen, stop_early=True, intermediates_only=True)
            return images.new_empty(images.shape[0], 0), read
        final, read = self.model.forward_intermediates(images, **chosen)
        return self.model.forward_head(final, pre_logits=True), read


class TimmIntermediateEncoder(nn.Module):
    """Encoder for the image embedding and patch tokens after some blocks of a timm model, like `IntermediateEncoder`.

    Args:
        visual: the tower.
        layers: numbers of the blocks, counted from 1, in ascending order.
        norm: whether the last layer norm of the model is applied to the tokens of every layer.
        embed: whether the image embedding is computed.
    """

    def __init__(self, visual: TimmTower, layers: Sequence[int], norm: bool = True, embed: bool = True) -> None:
        super().__init__()
        self.visual = visual
        self.layers = tuple(layers)
        self.norm = norm
        self.embed = embed

    def forward(self, images: Tensor) -> IntermediateFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size."""
        return self.visual(images, self.layers, self.norm, self.embed)

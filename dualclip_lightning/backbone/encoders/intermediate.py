"""CLIP's ordinary vision stream, read after several of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower


class IntermediateFeatures(NamedTuple):
    """What a batch gives, not normalised."""

    class_embedding: Tensor
    """[B, D] in CLIP's shared space."""
    layers: tuple[Tensor, ...]
    """For each block chosen [B, h, w, C], its patch tokens as they are: no `ln_post`, no projection."""


class IntermediateEncoder(nn.Module):
    """CLIP's image embedding and the patch tokens of the ordinary stream after chosen blocks.

    Args:
        visual: an unmodified open_clip VisionTransformer; it is read, never changed.
        layers: numbers of the blocks, from 1, in any order; they are read in ascending order. None means the last
            block of every quarter of the tower: 3, 6, 9, 12 of 12, or 6, 12, 18, 24 of 24.

    Raises:
        ValueError: an unsupported tower, or a block number it does not have.
    """

    def __init__(self, visual: nn.Module, layers: Sequence[int] | None = None) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        depth = len(self.visual.transformer.resblocks)
        self.layers = tuple(sorted(set(tower.quarter_blocks(depth) if layers is None else layers)))
        if not self.layers or not set(self.layers) <= set(range(1, depth + 1)):
            msg = f"layers must name blocks from 1 to {depth} of this tower, but got {list(layers or ())}."
            raise ValueError(msg)

    def forward(self, images: Tensor) -> IntermediateFeatures:
        """Encode images [B, 3, H, W], preprocessed; H and W are multiples of the patch, square or not.

        Raises:
            ValueError: a side that is not a multiple of the patch.
        """
        x, grid = tower.embed(self.visual, images)
        *blocks, last = self.visual.transformer.resblocks
        read = []
        for number, block in enumerate(blocks, start=1):
            x = tower.run_block(block, x)
            if number in self.layers:
                read.append(x[:, 1:].unflatten(1, grid))
        if len(blocks) + 1 in self.layers:
            x = tower.run_block(last, x)
            read.append(x[:, 1:].unflatten(1, grid))
        else:
            x = tower.run_class_block(last, x)
        return IntermediateFeatures(tower.project_out(self.visual, x[:, 0]), tuple(read))

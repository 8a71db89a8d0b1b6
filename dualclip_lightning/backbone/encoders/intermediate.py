"""Patch tokens of CLIP's ordinary vision stream after several of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.layers import IntermediateFeatures, check_layers, quarter_blocks
from dualclip_lightning.backbone.encoders.timm_tower import TimmIntermediateEncoder, TimmTower


class IntermediateEncoder(nn.Module):
    """Encoder for CLIP's image embedding and the patch tokens of the ordinary stream after selected blocks.

    Args:
        visual: an unmodified open_clip VisionTransformer, which is not changed.
        layers: numbers of the blocks, counted from 1, in any order; they are read in ascending order. None means the
            last block of every quarter of the tower: 3, 6, 9, 12 of 12, or 6, 12, 18, 24 of 24.
        default: function from the depth of the tower to the layers that are read instead if none are chosen.

    Raises:
        ValueError: the tower is unsupported, or does not have a block.
    """

    def __init__(
        self,
        visual: nn.Module,
        layers: Sequence[int] | None = None,
        default: Callable[[int], Sequence[int]] = quarter_blocks,
    ) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        self.layers = check_layers(layers, len(self.visual.transformer.resblocks), default)

    def forward(self, images: Tensor) -> IntermediateFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size and may differ.

        Raises:
            ValueError: a side is not a multiple of the patch size.
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


def intermediate_encoder(
    visual: nn.Module,
    layers: Sequence[int] | None = None,
    norm: bool = True,
    default: Callable[[int], Sequence[int]] = quarter_blocks,
    embed: bool = True,
) -> IntermediateEncoder | TimmIntermediateEncoder:
    """Return the encoder of several layers for a tower of open_clip or timm.

    Args:
        visual: the tower.
        layers: numbers of the blocks, counted from 1; None for `default`, or for the stages of strides 8 and 16 of a
            network in stages (`StageTower`), because the last one is specific to the classes it was trained on.
        norm: whether the last layer norm is applied to the tokens of a timm tower, as DINOv2's own function does. It is
            never applied to tokens of CLIP, as in the released code of MuSc.
        default: function from the depth of the tower to the layers that are read if none are chosen.
        embed: whether the image embedding is needed. Without it, a tower of timm stops after the last layer.

    Raises:
        ValueError: the tower is unsupported, or does not have a block.
    """
    if isinstance(visual, TimmTower):
        chosen = visual.usual_layers if layers is None else layers
        return TimmIntermediateEncoder(visual, check_layers(chosen, visual.depth, default), norm, embed)
    return IntermediateEncoder(visual, layers, default)

"""The dual-path encoder of a CLIP with a convolutional stem, whose maps are compared with references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.dual_path import DualPathFeatures, DualPathVisionEncoder
from dualclip_lightning.backbone.stem import ConvStem, StemFeatures, StemTokens


class StemPathEncoder(nn.Module):
    """Class and patch embeddings of CLIP, with the maps of its convolutional stem in place of layers.

    The stem is run once for both. Every stage is a layer on a grid of its own; the places of that grid that lie in a
    patch are the n places of this patch, row by row. With stages of strides 8 and 16, a patch of 16 pixels has 4 places
    in the first and 1 in the second.

    Args:
        visual: an open_clip VisionTransformer with a `ConvStem`, which is not changed.
        vv_blocks: as in `DualPathVisionEncoder`.

    Raises:
        ValueError: the tower has no such stem, is unsupported, or does not have a block.
    """

    def __init__(self, visual: nn.Module, vv_blocks: Sequence[int] | None = None) -> None:
        super().__init__()
        self.dual = DualPathVisionEncoder(visual, vv_blocks)
        if not isinstance(self.visual.conv1, ConvStem):
            msg = (
                "reference_path 'stem' compares the maps of a convolutional stem, which this tower does not have. Set "
                "reference_path to 'vv' or 'ordinary', or pretrained to 'demo'."
            )
            raise ValueError(msg)  # noqa: TRY004 - the user's choice of model is wrong, not the program's type

    @property
    def visual(self) -> VisionTransformer:
        """The vision tower."""
        return self.dual.visual

    def forward(self, images: Tensor) -> DualPathFeatures:
        """Encode preprocessed images [B, 3, H, W]; `layers` are the maps [B, h, w, n, C] of the stem's stages.

        Raises:
            ValueError: a side is not a multiple of the patch size.
        """
        grid = tower.patch_grid(self.visual, images.shape[-2], images.shape[-1])
        features, tokens = cast("tuple[StemFeatures, StemTokens]", tuple(self.visual.conv1))
        maps = features.maps(images)
        found = self.dual(images, tokens(features.coarse(maps)))
        return found._replace(layers=tuple(by_patch(each, grid) for each in features.standardised(maps)))

    def patch_embeddings(self, images: Tensor) -> Tensor:
        """Return only the patch embeddings [B, h, w, D] of preprocessed images [B, 3, H, W]."""
        return self.dual.patch_embeddings(images)


def by_patch(fine: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return a map [B, C, H, W] as the places of each patch of a grid (h, w), row by row: [B, h, w, n, C]."""
    split = fine.unflatten(3, (grid[1], -1)).unflatten(2, (grid[0], -1))
    return split.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)

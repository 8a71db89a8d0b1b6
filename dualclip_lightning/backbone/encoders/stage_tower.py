"""Networks of timm in stages, such as ResNets and EfficientNets, whose maps are brought to one grid of patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders.layers import IntermediateFeatures
from dualclip_lightning.backbone.encoders.timm_tower import EXAMPLE, TimmTower

PATCH = 16
"""Side in pixels of the places that have one token."""
USUAL_STRIDES = (8, 16)
"""Strides in pixels of the stages that PatchCore compares."""
TRIED_SIZE = (80, 400)
"""Height and width in pixels of the image by which a network shows that it takes images of any size."""
NEIGHBOURHOOD = 3
"""Side of the neighbourhoods over which maps are averaged."""


class StageTower(TimmTower):
    """Wrapper that reads the maps of a network of timm in stages without changing it.

    A block is a stage, an entry of timm's `feature_info`: usually of stride 2, 4, 8, 16 and 32 pixels. Patches have 16
    pixels, as in most vision transformers. A map is averaged over 3x3 neighbours on its own grid, without the places
    beyond the border, then averaged over each patch if its stride is smaller, or interpolated (bilinear) to the patches
    if it is larger. The image embedding is the input of timm's classifier, the pooled last map.

    Averages over 3x3 neighbours, one grid for all stages, and strides 8 and 16 as the usual stages are those of
    PatchCore (arXiv 2106.08265, section 3.1). Assumed: patches of 16 pixels, so that maps have as many values as with a
    vision transformer; PatchCore interpolates to stride 8.

    Args:
        model: model of `timm.create_model`, which is put in evaluation mode.

    Raises:
        ValueError: the maps of the model cannot be read, or there are none of strides 8 and 16.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.eval())
        self._only_size: tuple[int, int] | None = None
        try:
            self._depth, self.usual_layers = self._try(TRIED_SIZE)
        except ValueError:  # position embeddings or windows of one size
            height, width = resolve_model_data_config(model)["input_size"][-2:]
            self._only_size = (int(height), int(width))
            self._depth, self.usual_layers = self._try(self._only_size)

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return PATCH, PATCH

    @property
    def only_size(self) -> tuple[int, int] | None:
        """Height and width of the only images that the network takes; None if it takes other sizes."""
        return self._only_size

    @property
    def depth(self) -> int:
        """Number of stages."""
        return self._depth

    def set_grid(self, grid: tuple[int, int]) -> None:
        """Do nothing: there are no position embeddings of another grid."""

    def forward(self, images: Tensor, layers: Sequence[int], norm: bool, embed: bool = True) -> IntermediateFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size.

        Args:
            images: images [B, 3, H, W].
            layers: numbers of the selected stages, counted from 1, in ascending order.
            norm: not used: a network in stages has no layer norm for all of them.
            embed: as in `TimmTower`.
        """
        del norm
        grid = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        images = images.contiguous(memory_format=torch.channels_last)  # halves the time of depthwise convolutions
        embedding, maps = self._read(images, [number - 1 for number in layers], norm=False, embed=embed)
        return IntermediateFeatures(embedding, tuple(_on_grid(each, grid).permute(0, 2, 3, 1) for each in maps))

    @torch.no_grad()
    def _try(self, size: tuple[int, int]) -> tuple[int, tuple[int, ...]]:
        """Return the number of stages, and the numbers of the usual ones, after reading an image of a size.

        Raises:
            ValueError: the image cannot be read, or there are no such stages.
        """
        images = torch.zeros(1, 3, *size)
        try:
            _, maps = self._read(images, None, norm=False, embed=False)
            rows = [rows for _, _, rows, _ in (each.shape for each in maps)]
            usual = _usual(rows, size[0])
            self(images, usual, norm=False)
        except Exception as error:  # networks state in many ways what they do not take
            raise ValueError(self._refusal(str(error) or type(error).__name__)) from error
        return len(rows), usual

    def _refusal(self, reason: str) -> str:
        return (
            f"timm's {type(self.model).__name__} cannot be used: {reason}. Choose a plain vision transformer or a "
            f"convolutional network, for example 'timm:{EXAMPLE}' or 'timm:wide_resnet50_2'."
        )


def _usual(rows: Sequence[int], height: int) -> tuple[int, ...]:
    """Return the numbers of the stages of the usual strides, from the rows of the maps of an image of a height.

    Raises:
        ValueError: there are none for one of the strides.
    """
    needed = [height // stride for stride in USUAL_STRIDES]
    if not set(needed) <= set(rows):
        msg = f"its maps of an image of {height} pixels have {list(rows)} rows, but {needed} are needed"
        raise ValueError(msg)
    return tuple(number for number, each in enumerate(rows, start=1) if each in needed)


def _on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average maps [B, C, H, W] over neighbours, and bring them to a grid: [B, C, h, w]."""
    near = F.avg_pool2d(maps, NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2, count_include_pad=False)
    if tuple(near.shape[-2:]) == grid:
        return near
    if near.shape[-2] >= grid[0] and near.shape[-1] >= grid[1]:
        return F.adaptive_avg_pool2d(near, grid)
    return F.interpolate(near, grid, mode="bilinear", align_corners=False)


def timm_tower(model: nn.Module) -> TimmTower:
    """Return the tower that reads a model of `timm.create_model`.

    Raises:
        ValueError: same as in `StageTower`.
    """
    plain = hasattr(model, "blocks") and hasattr(getattr(model, "patch_embed", None), "patch_size")
    return TimmTower(model) if plain else StageTower(model)

"""Copies of models for images of one size."""

from __future__ import annotations

import copy
from typing import TypeVar

from open_clip.transformer import VisionTransformer
from torch import nn

from dualclip_lightning.backbone.encoders.timm_tower import TimmTower
from dualclip_lightning.backbone.encoders.tower import position_embedding
from dualclip_lightning.predict.input.geometry import Size

Module = TypeVar("Module", bound=nn.Module)


def at_grid(model: Module, grid: Size) -> Module:
    """Return a copy of a model on the CPU for images of a grid of patches; weights that are there are shared with it.

    The position embeddings of its towers are those of the grid. Otherwise towers interpolate them in every forward,
    with antialiasing, which not every runtime has.
    """
    shared = {id(each): each for each in (*model.parameters(), *model.buffers()) if each.device.type == "cpu"}
    own = copy.deepcopy(model, shared).cpu()
    for tower in own.modules():
        if isinstance(tower, VisionTransformer):
            tower.positional_embedding = nn.Parameter(position_embedding(tower, grid), requires_grad=False)
            tower.grid_size = grid
        elif isinstance(tower, TimmTower):
            tower.set_grid(grid)
    return own

"""The staged dual-path encoder of CLIP-AD: tokens of both streams after several blocks, with a V-V restart at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.layers import quarter_blocks


class StagedFeatures(NamedTuple):
    """Tokens of a batch after each stage, class token first."""

    stages: tuple[Tensor, ...]
    """Tokens [B, 1+N, D] of each stage in CLIP's shared space, not normalised: ordinary class token, V-V patches."""
    ordinary: tuple[Tensor, ...]
    """Raw tokens [B, 1+N, C] of the ordinary stream for each stage; empty if they were not requested."""
    grid: tuple[int, int]
    """Numbers of rows and columns of patches."""


class StagedDualPathEncoder(nn.Module):
    """Staged dual path of CLIP-AD (arXiv 2311.00453, section 3.2).

    The ordinary stream runs as in CLIP. The V-V stream sums, block by block, the V-V attention of the ordinary
    stream's values; after every stage it restarts from zero, without the residual input. Both streams share one
    query-key-value projection.

    The released code updates the ordinary tokens of a stage in place, so that the tokens it returns also contain the
    next block's attention output, except for a stage after the tower's last block. `released_tokens` reproduces this.

    Args:
        visual: an unmodified open_clip VisionTransformer, which is not changed.
        stages: numbers of the blocks, counted from 1, after which tokens are returned and the V-V stream restarts; None
            means the quarters of the depth.
        keep_ordinary: whether raw ordinary tokens are returned, too; without them the last block is cheaper.
        released_tokens: whether class tokens and ordinary tokens of a stage equal those of the released code.

    Raises:
        ValueError: the tower is unsupported, or the stages are not increasing numbers of its blocks.
    """

    def __init__(
        self,
        visual: nn.Module,
        stages: Sequence[int] | None = None,
        keep_ordinary: bool = True,
        released_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        depth = len(self.visual.transformer.resblocks)
        self.stages = quarter_blocks(depth) if stages is None else _check_stages(stages, depth)
        self.keep_ordinary = keep_ordinary
        self.released_tokens = released_tokens

    def forward(self, images: Tensor) -> StagedFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size and may differ.

        Raises:
            ValueError: a side is not a multiple of the patch size.
        """
        ordinary, grid = tower.embed(self.visual, images)
        patches: Tensor | None = None
        vv: list[Tensor] = []
        plain: list[Tensor] = []
        # The released tokens of the last stage need one more block, if there is one.
        blocks = self.visual.transformer.resblocks[: self.stages[-1] + self.released_tokens]
        for number, block in enumerate(blocks, start=1):
            class_only = number == len(blocks) and not self.keep_ordinary
            project = tower.project_class_query if class_only else tower.project_qkv
            q, k, v = project(block.attn, block.ln_1(ordinary))
            step = block.ls_1(tower.attend(block.attn, v[:, :, 1:], v, v))  # the class token's output is unused
            attended = tower.attend(block.attn, q, k, v)
            if self.released_tokens and number - 1 in self.stages:
                plain[-1] = ordinary[:, : q.shape[2]] + block.ls_1(attended)
            ordinary = tower.finish_block(block, ordinary[:, : q.shape[2]], attended)
            patches = step if patches is None else patches + step
            if number in self.stages:
                vv.append(patches)
                plain.append(ordinary)
                patches = None
        tokens = (torch.cat([own[:, :1], patch], dim=1) for own, patch in zip(plain, vv, strict=True))
        return StagedFeatures(
            stages=tuple(tower.project_out(self.visual, stage) for stage in tokens),
            ordinary=tuple(plain) if self.keep_ordinary else (),
            grid=grid,
        )


def _check_stages(stages: Sequence[int], depth: int) -> tuple[int, ...]:
    chosen = tuple(stages)
    if not chosen or list(chosen) != sorted(set(chosen)) or not set(chosen) <= set(range(1, depth + 1)):
        msg = (
            f"Expected stages to be increasing numbers of this tower's blocks, 1 to {depth}, but got {list(stages)}. "
            f"Set for example {list(quarter_blocks(depth))}."
        )
        raise ValueError(msg)
    return chosen

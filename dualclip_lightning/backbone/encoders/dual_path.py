"""The dual-path vision encoder: class token from Q-K-V attention, patch tokens from V-V attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.layers import relative_blocks


class DualPathFeatures(NamedTuple):
    """Embeddings of a batch in CLIP's shared space, not normalised."""

    class_embedding: Tensor
    """Class embeddings [B, D]."""
    patch_embeddings: Tensor
    """Patch embeddings [B, h, w, D]."""
    layers: tuple[Tensor, ...] = ()
    """For each layer that is compared with references, its patch tokens [B, h, w, C], or [B, h, w, n, C] with n of each
    patch (`StemPathEncoder`)."""


class DualPathVisionEncoder(nn.Module):
    """Two-way path of AnoCLIP (arXiv 2308.15939), which Dual-Image CLIP (arXiv 2405.04782, eq. 4) uses unchanged.

    The ordinary stream runs as in CLIP and yields the class embedding. The V-V stream starts from the same tokens and
    adds, block by block, the V-V attention of the ordinary stream's values; it skips the MLPs.

    Both streams share one query-key-value projection, and the ordinary stream's last block computes only the class
    token: the same numbers as the published two passes, for about 5 % more time than one plain CLIP forward pass.

    Args:
        visual: an unmodified open_clip VisionTransformer, which is not changed.
        vv_blocks: numbers of the blocks that take part in the V-V stream, counted from 1; None means all.
        layers: depths of `DualPathFeatures.layers`, as shares of the tower's blocks in (0, 1].
        path: stream of these layers. "vv": the V-V stream after `ln_post` and the projection, so that the last layer is
            `patch_embeddings`. "ordinary": the tokens of the ordinary stream as they are, as `IntermediateEncoder`
            reads them; the last block then computes all tokens if it is among the layers.

    Raises:
        ValueError: the tower is unsupported, or does not have a block.
    """

    def __init__(
        self,
        visual: nn.Module,
        vv_blocks: Sequence[int] | None = None,
        layers: Sequence[float] = (1.0,),
        path: Literal["vv", "ordinary"] = "vv",
    ) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        depth = len(self.visual.transformer.resblocks)
        self.vv_blocks = frozenset(range(1, depth + 1) if vv_blocks is None else vv_blocks)
        if not self.vv_blocks or not self.vv_blocks <= set(range(1, depth + 1)):
            msg = f"vv_blocks must name blocks from 1 to {depth} of this tower, but got {list(vv_blocks or ())}."
            raise ValueError(msg)
        self.layers = relative_blocks(depth, layers)
        self.path = path

    def forward(self, images: Tensor, patch_tokens: Tensor | None = None) -> DualPathFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size and may differ.

        Args:
            images: [B, 3, H, W].
            patch_tokens: the output [B, C, h, w] of the tower's patch convolution if it is known already.

        Raises:
            ValueError: a side is not a multiple of the patch size.
        """
        ordinary, grid = tower.embed(self.visual, images, patch_tokens)
        patches = ordinary[:, 1:]
        last = len(self.visual.transformer.resblocks)
        class_only = self.path == "vv" or last not in self.layers
        read = []
        for number, block in enumerate(self.visual.transformer.resblocks, start=1):
            project = tower.project_class_query if number == last and class_only else tower.project_qkv
            q, k, v = project(block.attn, block.ln_1(ordinary))
            if number in self.vv_blocks:  # the class token is a key and value here; its output is unused
                patches = patches + block.ls_1(tower.attend(block.attn, v[:, :, 1:], v, v))
            ordinary = tower.finish_block(block, ordinary[:, : q.shape[2]], tower.attend(block.attn, q, k, v))
            if number in self.layers:
                read.append(patches if self.path == "vv" else ordinary[:, 1:])
        embeddings = tower.project_out(self.visual, patches)
        if self.path == "vv":
            read = [embeddings if each is patches else tower.project_out(self.visual, each) for each in read]
        return DualPathFeatures(
            class_embedding=tower.project_out(self.visual, ordinary[:, 0]),
            patch_embeddings=embeddings.unflatten(1, grid),
            layers=tuple(each.unflatten(1, grid) for each in read),
        )

    def patch_embeddings(self, images: Tensor) -> Tensor:
        """Return only the patch embeddings [B, h, w, D] of preprocessed images [B, 3, H, W]."""
        return self(images).patch_embeddings

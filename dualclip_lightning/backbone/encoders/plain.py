"""CLIP's own vision features: only the class embedding, or also the patch tokens of the last block."""

from __future__ import annotations

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.dual_path import DualPathFeatures


class ClassEncoder(nn.Module):
    """Encoder for CLIP's image embedding; its last block computes only the class token, with the same result.

    Args:
        visual: an unmodified open_clip VisionTransformer, which is not changed.

    Raises:
        ValueError: the tower is unsupported.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)

    def forward(self, images: Tensor) -> Tensor:
        """Return class embeddings [B, D] of images [B, 3, H, W], not normalised.

        Raises:
            ValueError: a side is not a multiple of the patch size.
        """
        x, _ = tower.embed(self.visual, images)
        *blocks, last = self.visual.transformer.resblocks
        for block in blocks:
            x = tower.run_block(block, x)
        return tower.project_out(self.visual, tower.run_class_block(last, x)[:, 0])


class PlainVisionEncoder(ClassEncoder):
    """Encoder for CLIP's image embedding and ordinary patch tokens, projected into the same space."""

    def forward(self, images: Tensor) -> DualPathFeatures:  # type: ignore[override]
        """Return the embeddings of images [B, 3, H, W].

        Raises:
            ValueError: a side is not a multiple of the patch size.
        """
        x, grid = tower.embed(self.visual, images)
        for block in self.visual.transformer.resblocks:
            x = tower.run_block(block, x)
        embeddings = tower.project_out(self.visual, x)
        return DualPathFeatures(embeddings[:, 0], embeddings[:, 1:].unflatten(1, grid))

"""CLIP's own vision forward: only the class embedding, or also the patch tokens of the last block."""

from __future__ import annotations

from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower
from dualclip_lightning.backbone.encoders.dual_path import DualPathFeatures


class ClassEncoder(nn.Module):
    """CLIP's image embedding; the last block computes only the class token, with the same numbers.

    Args:
        visual: an unmodified open_clip VisionTransformer; it is read, never changed.

    Raises:
        ValueError: an unsupported tower.
    """

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)

    def forward(self, images: Tensor) -> Tensor:
        """Class embedding [B, D] of images [B, 3, H, W], not normalised.

        Raises:
            ValueError: a side that is not a multiple of the patch.
        """
        x, _ = tower.embed(self.visual, images)
        *blocks, last = self.visual.transformer.resblocks
        for block in blocks:
            x = tower.run_block(block, x)
        return tower.project_out(self.visual, tower.run_class_block(last, x)[:, 0])


class PlainVisionEncoder(ClassEncoder):
    """CLIP's image embedding with the ordinary patch tokens, projected into the same space."""

    def forward(self, images: Tensor) -> DualPathFeatures:  # type: ignore[override]
        """Embeddings of images [B, 3, H, W].

        Raises:
            ValueError: a side that is not a multiple of the patch.
        """
        x, grid = tower.embed(self.visual, images)
        for block in self.visual.transformer.resblocks:
            x = tower.run_block(block, x)
        embeddings = tower.project_out(self.visual, x)
        return DualPathFeatures(embeddings[:, 0], embeddings[:, 1:].unflatten(1, grid))

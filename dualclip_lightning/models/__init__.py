"""The methods: each a plain torch module and a thin LightningModule around it."""

from dualclip_lightning.models.dual_image_clip import DualImageCLIP, DualImageCLIPModel

__all__ = ["DualImageCLIP", "DualImageCLIPModel"]

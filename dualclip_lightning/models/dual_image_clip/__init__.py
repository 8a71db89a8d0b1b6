"""Dual-Image Enhanced CLIP for zero-shot anomaly detection (arXiv 2405.04782)."""

from dualclip_lightning.models.dual_image_clip.lightning_model import DualImageCLIP
from dualclip_lightning.models.dual_image_clip.torch_model import DualImageCLIPModel

__all__ = ["DualImageCLIP", "DualImageCLIPModel"]

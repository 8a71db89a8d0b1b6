"""CLIP-AD: SDP, and SDP+ with layers learnt from another data set (arXiv 2311.00453)."""

from dualclip_lightning.models.clip_ad.lightning_model import ClipAD
from dualclip_lightning.models.clip_ad.torch_model import ClipADModel

__all__ = ["ClipAD", "ClipADModel"]

"""MuSc and its form for pairs, MuSc-2 (arXiv 2401.16753)."""

from dualclip_lightning.models.musc.lightning_model import MuSc
from dualclip_lightning.models.musc.torch_model import MuScModel

__all__ = ["MuSc", "MuScModel"]

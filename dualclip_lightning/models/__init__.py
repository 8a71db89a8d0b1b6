"""The methods. Each consists of a plain torch module and a thin LightningModule around it."""

from dualclip_lightning.models.anoclip import AnoCLIP, AnoCLIPModel
from dualclip_lightning.models.clip_ad import ClipAD, ClipADModel
from dualclip_lightning.models.clip_zero_shot import ClipZeroShot, ClipZeroShotModel
from dualclip_lightning.models.dual_image_clip import DualImageCLIP, DualImageCLIPModel
from dualclip_lightning.models.memory import PatchMemory, PatchMemoryModel, SubspaceAD, SubspaceModel
from dualclip_lightning.models.musc import MuSc, MuScModel
from dualclip_lightning.models.winclip import WinCLIP, WinCLIPModel, WindowCLIP

__all__ = [
    "AnoCLIP",
    "AnoCLIPModel",
    "ClipAD",
    "ClipADModel",
    "ClipZeroShot",
    "ClipZeroShotModel",
    "DualImageCLIP",
    "DualImageCLIPModel",
    "MuSc",
    "MuScModel",
    "PatchMemory",
    "PatchMemoryModel",
    "SubspaceAD",
    "SubspaceModel",
    "WinCLIP",
    "WinCLIPModel",
    "WindowCLIP",
]

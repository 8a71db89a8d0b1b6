"""Methods without texts that compare patches with normal images, or with all images of the test set."""

from dualclip_lightning.models.memory.patch_memory import PatchMemory, PatchMemoryModel
from dualclip_lightning.models.memory.subspace_ad import SubspaceAD, SubspaceModel

__all__ = ["PatchMemory", "PatchMemoryModel", "SubspaceAD", "SubspaceModel"]

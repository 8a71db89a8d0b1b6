"""References of the images of a run: none, each other in groups, all of them, or a bank of other images.

Each object orders the images of a run and passes them to the method's model together with their references. The shell
holds one of them.
"""

from dualclip_lightning.models.references.bank import Bank, folder_images
from dualclip_lightning.models.references.normal_images import check_shots, normal_images
from dualclip_lightning.models.references.pairs import Pairs
from dualclip_lightning.models.references.per_image import PerImage
from dualclip_lightning.models.references.whole_set import WholeSet

__all__ = ["Bank", "Pairs", "PerImage", "WholeSet", "check_shots", "folder_images", "normal_images"]

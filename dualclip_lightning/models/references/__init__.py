"""What the images of a run are compared with: nothing, each other in groups, all of them, or a bank of others.

Each object says in which order the images of a run come and brings them together with their references; the shell
holds one, and the method's model does the scoring.
"""

from dualclip_lightning.models.references.bank import Bank, folder_images
from dualclip_lightning.models.references.pairs import Pairs
from dualclip_lightning.models.references.per_image import PerImage
from dualclip_lightning.models.references.whole_set import WholeSet

__all__ = ["Bank", "Pairs", "PerImage", "WholeSet", "folder_images"]

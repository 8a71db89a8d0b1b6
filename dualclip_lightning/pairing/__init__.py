"""Who references whom, and how the references of a batch come to be at hand."""

from dualclip_lightning.pairing.grouped import GroupedScoring, PatchPrediction
from dualclip_lightning.pairing.groups import neighbour_references, random_groups, references_in_group
from dualclip_lightning.pairing.view import OrderedView, image_names, read_item

__all__ = [
    "GroupedScoring",
    "OrderedView",
    "PatchPrediction",
    "image_names",
    "neighbour_references",
    "random_groups",
    "read_item",
    "references_in_group",
]

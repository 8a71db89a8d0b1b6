"""Choice of the references of every image, and batches that contain them."""

from dualclip_lightning.pairing.grouped import GroupedScoring, PatchPrediction
from dualclip_lightning.pairing.groups import order_for_ranks, random_groups, random_subsets, whole_groups
from dualclip_lightning.pairing.names import image_names
from dualclip_lightning.pairing.ordered import OrderedDataset, known_names
from dualclip_lightning.pairing.references import (
    candidates,
    choose_references,
    neighbour_references,
    references_in_group,
)
from dualclip_lightning.pairing.store import FeatureStore
from dualclip_lightning.pairing.whole_set import ImageSet, WholeSetScoring

__all__ = [
    "FeatureStore",
    "GroupedScoring",
    "ImageSet",
    "OrderedDataset",
    "PatchPrediction",
    "WholeSetScoring",
    "candidates",
    "choose_references",
    "image_names",
    "known_names",
    "neighbour_references",
    "order_for_ranks",
    "random_groups",
    "random_subsets",
    "references_in_group",
    "whole_groups",
]

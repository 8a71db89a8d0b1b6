"""Comparison with visual references: nearest patches (eq. 5), neighbourhoods of patches, and subspaces."""

from dualclip_lightning.scoring.reference.comparison import ReferenceScoring
from dualclip_lightning.scoring.reference.memory import memory_distances, pooled_distances
from dualclip_lightning.scoring.reference.moments import PatchMoments
from dualclip_lightning.scoring.reference.nearest import reference_score, within_window
from dualclip_lightning.scoring.reference.neighbourhood import neighbourhood_mean, neighbourhood_similarity
from dualclip_lightning.scoring.reference.subspace import Subspace, fit_subspace

__all__ = [
    "PatchMoments",
    "ReferenceScoring",
    "Subspace",
    "fit_subspace",
    "memory_distances",
    "neighbourhood_mean",
    "neighbourhood_similarity",
    "pooled_distances",
    "reference_score",
    "within_window",
]

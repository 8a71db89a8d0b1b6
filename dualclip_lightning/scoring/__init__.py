"""Pure functions from embeddings to scores and maps, in [0, 1] unless stated otherwise; higher is more anomalous."""

from dualclip_lightning.scoring.fusion import image_score, joint_score, largest_mean
from dualclip_lightning.scoring.maps import DRAWINGS, MapDrawing, draw
from dualclip_lightning.scoring.mutual import mutual_scores, paired_scores
from dualclip_lightning.scoring.reference import (
    PatchMoments,
    ReferenceScoring,
    Subspace,
    fit_subspace,
    memory_distances,
    neighbourhood_mean,
    neighbourhood_similarity,
    pooled_distances,
    reference_score,
    within_window,
)
from dualclip_lightning.scoring.rscin import rscin
from dualclip_lightning.scoring.surgery import feature_surgery
from dualclip_lightning.scoring.text import state_logits, text_score
from dualclip_lightning.scoring.tiles import cut_tiles, join_tiles
from dualclip_lightning.scoring.windows import association_score, harmonic_map, harmonic_mean

__all__ = [
    "DRAWINGS",
    "MapDrawing",
    "PatchMoments",
    "ReferenceScoring",
    "Subspace",
    "association_score",
    "cut_tiles",
    "draw",
    "feature_surgery",
    "fit_subspace",
    "harmonic_map",
    "harmonic_mean",
    "image_score",
    "join_tiles",
    "joint_score",
    "largest_mean",
    "memory_distances",
    "mutual_scores",
    "neighbourhood_mean",
    "neighbourhood_similarity",
    "paired_scores",
    "pooled_distances",
    "reference_score",
    "rscin",
    "state_logits",
    "text_score",
    "within_window",
]

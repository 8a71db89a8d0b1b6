"""Pure functions from embeddings to scores and maps, all in [0, 1], higher is more anomalous."""

from dualclip_lightning.scoring.fusion import image_score, joint_score
from dualclip_lightning.scoring.maps import average_neighbours, upsample
from dualclip_lightning.scoring.reference import reference_score
from dualclip_lightning.scoring.text import state_logits, text_score
from dualclip_lightning.scoring.windows import association_score, harmonic_map, harmonic_mean

__all__ = [
    "association_score",
    "average_neighbours",
    "harmonic_map",
    "harmonic_mean",
    "image_score",
    "joint_score",
    "reference_score",
    "state_logits",
    "text_score",
    "upsample",
]

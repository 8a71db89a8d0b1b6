"""Pure functions from embeddings to scores and maps, all in [0, 1], higher is more anomalous."""

from dualclip_lightning.scoring.fusion import image_score, joint_score
from dualclip_lightning.scoring.maps import upsample
from dualclip_lightning.scoring.reference import reference_score
from dualclip_lightning.scoring.text import state_logits, text_score

__all__ = ["image_score", "joint_score", "reference_score", "state_logits", "text_score", "upsample"]

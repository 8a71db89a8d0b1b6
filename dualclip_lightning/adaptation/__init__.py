"""Test-time adaptation: what is learnt from one unlabelled image, and forgotten after it."""

from dualclip_lightning.adaptation.dual_image import AdaptationInputs, adapt_to_pseudo_anomalies
from dualclip_lightning.adaptation.masks import patch_targets
from dualclip_lightning.adaptation.online import TestTimeAdaptation, image_seeds, out_of_memory_advice
from dualclip_lightning.adaptation.pseudo import PseudoAnomalies, pseudo_anomalies
from dualclip_lightning.adaptation.settings import AdaptationSettings
from dualclip_lightning.adaptation.textures import TextureSource
from dualclip_lightning.adaptation.views import augmented_views

__all__ = [
    "AdaptationInputs",
    "AdaptationSettings",
    "PseudoAnomalies",
    "TestTimeAdaptation",
    "TextureSource",
    "adapt_to_pseudo_anomalies",
    "augmented_views",
    "image_seeds",
    "out_of_memory_advice",
    "patch_targets",
    "pseudo_anomalies",
]

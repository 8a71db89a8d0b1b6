"""Test-time adaptation: adapters that are fitted to one unlabelled image and discarded afterwards."""

from dualclip_lightning.adaptation.dual_image import AdaptationInputs, adapt_to_pseudo_anomalies
from dualclip_lightning.adaptation.masks import patch_targets
from dualclip_lightning.adaptation.online import TestTimeAdaptation, image_seeds
from dualclip_lightning.adaptation.pseudo import PseudoAnomalies, pseudo_anomalies
from dualclip_lightning.adaptation.settings import AdaptationSettings
from dualclip_lightning.adaptation.textures import TextureSource

__all__ = [
    "AdaptationInputs",
    "AdaptationSettings",
    "PseudoAnomalies",
    "TestTimeAdaptation",
    "TextureSource",
    "adapt_to_pseudo_anomalies",
    "image_seeds",
    "patch_targets",
    "pseudo_anomalies",
]

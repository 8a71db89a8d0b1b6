"""CLIP towers: loaded, frozen, and read in ways that CLIP itself does not offer."""

from dualclip_lightning.backbone.dual_path import DualPathFeatures, DualPathVisionEncoder
from dualclip_lightning.backbone.loading import Backbone, WeightsError, load_backbone
from dualclip_lightning.backbone.preprocessing import Preprocessing
from dualclip_lightning.backbone.text import encode_texts

__all__ = [
    "Backbone",
    "DualPathFeatures",
    "DualPathVisionEncoder",
    "Preprocessing",
    "WeightsError",
    "encode_texts",
    "load_backbone",
]

"""Frozen CLIP towers, and encoders that read features which CLIP itself does not return."""

from dualclip_lightning.backbone.encoders.dual_path import DualPathFeatures, DualPathVisionEncoder
from dualclip_lightning.backbone.encoders.intermediate import IntermediateEncoder, intermediate_encoder
from dualclip_lightning.backbone.encoders.layers import IntermediateFeatures
from dualclip_lightning.backbone.encoders.plain import ClassEncoder, PlainVisionEncoder
from dualclip_lightning.backbone.encoders.staged_dual_path import StagedDualPathEncoder, StagedFeatures
from dualclip_lightning.backbone.encoders.stem_path import StemPathEncoder
from dualclip_lightning.backbone.encoders.two_towers import (
    ReferenceEncoder,
    TwoTowerEncoder,
    check_reference_backbone,
    load_reference_backbone,
    reference_encoder,
)
from dualclip_lightning.backbone.encoders.windows import WindowEncoder, WindowFeatures
from dualclip_lightning.backbone.loading import load_backbone, prepare_backbone
from dualclip_lightning.backbone.model import Backbone
from dualclip_lightning.backbone.preprocessing import Preprocessing
from dualclip_lightning.backbone.text import encode_texts
from dualclip_lightning.weights import WeightsError

__all__ = [
    "Backbone",
    "ClassEncoder",
    "DualPathFeatures",
    "DualPathVisionEncoder",
    "IntermediateEncoder",
    "IntermediateFeatures",
    "PlainVisionEncoder",
    "Preprocessing",
    "ReferenceEncoder",
    "StagedDualPathEncoder",
    "StagedFeatures",
    "StemPathEncoder",
    "TwoTowerEncoder",
    "WeightsError",
    "WindowEncoder",
    "WindowFeatures",
    "check_reference_backbone",
    "encode_texts",
    "intermediate_encoder",
    "load_backbone",
    "load_reference_backbone",
    "prepare_backbone",
    "reference_encoder",
]

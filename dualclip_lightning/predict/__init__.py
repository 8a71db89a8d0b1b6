"""Prediction on your own images without labels: a score, a map in the image's geometry, and a decision."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualclip_lightning.images.picture import ImageError
    from dualclip_lightning.images.sources import Failure
    from dualclip_lightning.predict.detector import Detector
    from dualclip_lightning.predict.input.geometry import Geometry
    from dualclip_lightning.predict.output.prediction import Prediction
    from dualclip_lightning.predict.output.regions.region import Region
    from dualclip_lightning.predict.scoring.thresholds import Threshold

__all__ = ["Detector", "Failure", "Geometry", "ImageError", "Prediction", "Region", "Threshold"]

_HOMES = {
    "Detector": "predict.detector",
    "Failure": "images.sources",
    "Geometry": "predict.input.geometry",
    "ImageError": "images.picture",
    "Prediction": "predict.output.prediction",
    "Region": "predict.output.regions.region",
    "Threshold": "predict.scoring.thresholds",
}


def __getattr__(name: str) -> Any:  # lazily, because PyTorch takes seconds to import
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"dualclip_lightning.{_HOMES[name]}"), name)

"""Zero-shot anomaly detection with CLIP, without training, on PyTorch Lightning and anomalib.

Heavy imports are deferred, because PyTorch loads :mod:`dualclip_lightning.plugin` whenever it is imported.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dualclip_lightning.registry import DATAMODULES, FORMER_NAMES, MODELS

if TYPE_CHECKING:
    from dualclip_lightning.data import Demo, Folders, MVTec
    from dualclip_lightning.models import (
        AnoCLIP,
        ClipAD,
        ClipZeroShot,
        DualImageCLIP,
        MuSc,
        PatchMemory,
        SubspaceAD,
        WinCLIP,
        WindowCLIP,
    )
    from dualclip_lightning.predict import Detector, Failure, Geometry, ImageError, Prediction, Region, Threshold

__all__ = [
    "AnoCLIP",
    "ClipAD",
    "ClipZeroShot",
    "Demo",
    "Detector",
    "DualImageCLIP",
    "Failure",
    "Folders",
    "Geometry",
    "ImageError",
    "MVTec",
    "MuSc",
    "PatchMemory",
    "Prediction",
    "Region",
    "SubspaceAD",
    "Threshold",
    "WinCLIP",
    "WindowCLIP",
    "__version__",
]

_PREDICT = ("Detector", "Failure", "Geometry", "ImageError", "Prediction", "Region", "Threshold")
_FORMER = {name: MODELS[new] for name, new in FORMER_NAMES.items()}
_HOMES = MODELS | _FORMER | DATAMODULES | dict.fromkeys(_PREDICT, "dualclip_lightning.predict")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("dualclip_lightning")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

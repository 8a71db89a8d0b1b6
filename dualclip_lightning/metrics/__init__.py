"""Metrics that depend only on the ranking of scores, for images and for pixels.

`functional` provides them as pure functions, `ImageMetrics` and `PixelMetrics` as torchmetrics, `AUROC`, `AP`, `F1Max`
and `PRO` for anomalib's `Evaluator`, `default_evaluator` as the preset of every method of this package. anomalib is
imported only for the last ones.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualclip_lightning.metrics.evaluator import ZeroShotEvaluator, describe_evaluator
    from dualclip_lightning.metrics.image import ImageMetrics
    from dualclip_lightning.metrics.pixel import PixelMetrics
    from dualclip_lightning.metrics.preset import default_evaluator
    from dualclip_lightning.metrics.wrappers import AP, AUPIMO, AUROC, PRO, F1Max

__all__ = [
    "AP",
    "AUPIMO",
    "AUROC",
    "PRO",
    "F1Max",
    "ImageMetrics",
    "PixelMetrics",
    "ZeroShotEvaluator",
    "default_evaluator",
    "describe_evaluator",
]

_HOMES = {"ImageMetrics": "image", "PixelMetrics": "pixel", "ZeroShotEvaluator": "evaluator",
          "default_evaluator": "preset", "describe_evaluator": "evaluator"}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'wrappers')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

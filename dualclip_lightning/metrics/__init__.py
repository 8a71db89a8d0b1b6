"""How results are judged: metrics that depend on the ranking of scores alone, for images and for pixels.

`functional` has them as pure functions, `ImageMetrics` and `PixelMetrics` as torchmetrics, `AUROC`, `AP`, `F1Max` and
`PRO` for anomalib's `Evaluator`, `default_evaluator` as the preset of every method of this package.
"""

from dualclip_lightning.metrics.evaluator import ZeroShotEvaluator, default_evaluator
from dualclip_lightning.metrics.image import ImageMetrics
from dualclip_lightning.metrics.pixel import PixelMetrics
from dualclip_lightning.metrics.wrappers import AP, AUROC, PRO, F1Max

__all__ = ["AP", "AUROC", "PRO", "F1Max", "ImageMetrics", "PixelMetrics", "ZeroShotEvaluator", "default_evaluator"]

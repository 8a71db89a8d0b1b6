"""The same pixel metrics by other packages, as `measuring.metrics` measures them: anomalib, torchmetrics, scikit-learn.

ADEval is added if it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import anomalib.metrics
import numpy as np
import sklearn.metrics
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from torch import Tensor
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

Results = dict[str, float]
Variant = Callable[[Tensor, Tensor], Results]

BATCH = 8
ADEVAL = "ADEval"
SCORE_BOUNDS = (0.0, 1.0)
"""Bounds of the scores, which ADEval takes from its user."""


def other_variants() -> dict[str, Variant]:
    """Return the measured functions of other packages by name."""
    found = {
        f"anomalib {name}": _anomalib(metric, getattr(anomalib.metrics, name))
        for name, metric in {"AUROC": "auroc", "AUPR": "ap", "F1Max": "f1max", "AUPRO": "pro"}.items()
    }
    found |= {
        "torchmetrics AUROC": _torchmetrics("auroc", BinaryAUROC),
        "torchmetrics AP": _torchmetrics("ap", BinaryAveragePrecision),
        "scikit-learn AUROC": _scikit("auroc", sklearn.metrics.roc_auc_score),
        "scikit-learn AP": _scikit("ap", sklearn.metrics.average_precision_score),
        "scikit-learn F1max": _scikit("f1max", _f1_max),
    }
    return found | ({ADEVAL: _adeval} if find_spec("adeval") else {})


def batches(maps: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield maps and masks in batches [<= BATCH, H, W]."""
    return zip(maps.split(BATCH), masks.split(BATCH), strict=True)


def _torchmetrics(name: str, make: Callable[[], Any]) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = make()
        for batch_maps, batch_masks in batches(maps, masks):
            metric.update(batch_maps, batch_masks.int())
        return {name: float(metric.compute())}

    return run


def _anomalib(name: str, kind: Callable[..., Any]) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = kind(fields=["maps", "masks"])
        for batch_maps, batch_masks in batches(maps, masks):
            metric.update(SimpleNamespace(maps=batch_maps, masks=batch_masks.int()))
        return {name: float(metric.compute())}

    return run


def _scikit(name: str, metric: Callable[[NDArray, NDArray], float]) -> Variant:
    return lambda maps, masks: {name: float(metric(masks.numpy().ravel(), maps.numpy().ravel()))}


def _f1_max(targets: NDArray, scores: NDArray) -> float:
    precision, recall, _ = sklearn.metrics.precision_recall_curve(targets, scores)
    return float((2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)).max())


def _adeval(maps: Tensor, masks: Tensor) -> Results:
    """Return AUROC, area under straight lines between points of the precision-recall curve, and PRO."""
    accumulator = import_module("adeval").EvalAccumulator(*SCORE_BOUNDS)
    for batch_maps, batch_masks in batches(maps, masks):
        accumulator.add_anomap_batch(batch_maps.numpy(), batch_masks.numpy().astype(np.uint8))
    # ADEval 1.1 calls NumPy's `trapz`, which new versions of NumPy lack, and divides by the number of image scores,
    # of which there are none here.
    with patch.object(np, "trapz", trapezoid, create=True), np.errstate(invalid="ignore"):
        found = accumulator.summary()
    return {"auroc": found["p_auroc"], "ap": found["p_aupr"], "pro": found["p_aupro"]}

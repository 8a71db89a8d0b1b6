"""AUROC, average precision, F1max and PRO as pure functions of one curve of cumulative counts.

Every metric here depends only on the ranking of the scores, so no strictly increasing transform changes it. Only the
scores of anomalous entries matter as thresholds: between two of them the curve is level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualclip_lightning.metrics.ranking import Ranking, rank
from dualclip_lightning.metrics.regions import Connectivity, region_areas

__all__ = [
    "Curve",
    "ap_trapezoid",
    "auroc",
    "average_precision",
    "exact_curve",
    "f1_max",
    "image_metrics",
    "metrics",
    "pixel_metrics",
    "pro",
    "pro_200",
]

Floats = NDArray[np.float64]

FPR_LIMIT = 0.3
"""False-positive rate up to which PRO integrates, the convention of MVTec AD; the area is divided by it."""
THRESHOLDS = 200
"""Number of thresholds of `pro_200`."""


class Curve(NamedTuple):
    """Cumulative counts [..., K] from the highest threshold, where they are 0, to the lowest, where they are totals.

    Neighbouring points are connected by straight lines, because entries between them are tied.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, auroc
        >>> normal, anomalous = np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0])  # the anomalous entry lies highest
        >>> float(auroc(Curve(normal, anomalous, overlap=anomalous)))
        1.0
    """

    normal: Floats
    """False positives."""
    anomalous: Floats
    """True positives."""
    overlap: Floats
    """Sum over the regions of the detected share of each; the last entry is the number of regions."""


def exact_curve(ranking: Ranking) -> Curve:
    """Return the exact curve of a ranking: two points for every distinct score of an anomalous entry.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import exact_curve
        >>> from dualclip_lightning.metrics.ranking import rank
        >>> scores, anomalous, areas = np.array([0.1, 0.4, 0.3]), np.array([0.3]), np.array([1], np.int32)
        >>> curve = exact_curve(rank([scores], anomalous, areas))
        >>> curve.normal.tolist(), curve.anomalous.tolist()
        ([0.0, 1.0, 1.0, 2.0], [0.0, 0.0, 1.0, 1.0])
    """
    values, first = ranking.distinct_anomalous()
    above, at_least = ranking.entries_above(values)
    places = np.append(first, ranking.anomalous.size)[::-1]
    found = ranking.anomalous.size - places
    normal, anomalous, overlap = points = np.zeros((3, 2 * found.size))
    normal[1:-1:2], normal[2::2] = above[::-1] - found[:-1], at_least[::-1] - found[1:]
    normal[-1] = ranking.size - ranking.anomalous.size
    anomalous[::2] = anomalous[1::2] = found
    overlap[::2] = overlap[1::2] = ranking.overlap[places]
    return Curve(*points)


def auroc(curve: Curve) -> Floats:
    """Return the area under the ROC curve [...]: the probability that an anomalous entry ranks above a normal one.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, auroc
        >>> counts = np.array([0.0, 1.0, 2.0])  # as many of both kinds at every threshold
        >>> float(auroc(Curve(normal=counts, anomalous=counts, overlap=counts)))
        0.5
    """
    return _area(curve.normal, curve.anomalous) / (curve.normal[..., -1] * curve.anomalous[..., -1])


def average_precision(curve: Curve) -> Floats:
    """Return the mean over the anomalous entries of the precision at their score [...], as in scikit-learn.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, average_precision
        >>> counts = np.array([0.0, 1.0, 2.0])
        >>> float(average_precision(Curve(normal=counts, anomalous=counts, overlap=counts)))
        0.5
    """
    found = curve.anomalous[..., 1:]
    precision = found / np.maximum(found + curve.normal[..., 1:], np.finfo(np.float64).tiny)
    return (np.diff(curve.anomalous) * precision).sum(-1) / curve.anomalous[..., -1]


def ap_trapezoid(curve: Curve) -> Floats:
    """Return the area under straight lines between the points of the precision-recall curve [...].

    This is the AP of images in AnoCLIP's tables, scikit-learn's `auc` of its `precision_recall_curve`. It exceeds the
    average precision if points are few and far apart, and is not a mean of attainable precisions.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, ap_trapezoid
        >>> counts = np.array([0.0, 1.0, 2.0])
        >>> float(ap_trapezoid(Curve(normal=counts, anomalous=counts, overlap=counts)))  # it begins at a precision of 1
        0.625
    """
    chosen = curve.anomalous + curve.normal
    precision = np.where(chosen > 0, curve.anomalous / np.maximum(chosen, 1), 1.0)
    return _area(curve.anomalous / curve.anomalous[..., -1:], precision)


def f1_max(curve: Curve) -> Floats:
    """Return the largest F1 of any threshold [...].

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, f1_max
        >>> normal, anomalous = np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0])  # the anomalous entry lies highest
        >>> float(f1_max(Curve(normal, anomalous, overlap=anomalous)))
        1.0
    """
    return (2 * curve.anomalous / (curve.anomalous + curve.normal + curve.anomalous[..., -1:])).max(-1)


def pro(curve: Curve, fpr_limit: float = FPR_LIMIT) -> Floats:
    """Return the area under the mean overlap of regions up to a false-positive rate, divided by that limit [...].

    Every region has the same weight (Bergmann et al., MVTec AD, 2021); at the limit the curve is interpolated linearly.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import Curve, pro
        >>> counts = np.array([0.0, 1.0, 2.0])  # as many false positives as overlap at every threshold
        >>> round(float(pro(Curve(normal=counts, anomalous=counts, overlap=counts), fpr_limit=0.3)), 3)
        0.15
    """
    rate, overlap = curve.normal / curve.normal[..., -1:], curve.overlap / curve.overlap[..., -1:]
    step = np.diff(rate)
    width = np.clip(fpr_limit - rate[..., :-1], 0, step)
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    height = overlap[..., :-1] + share * np.diff(overlap) / 2
    return (width * height).sum(-1) / fpr_limit


def metrics(
    fpr_limit: float | None = FPR_LIMIT, further_limits: Sequence[float] = ()
) -> Mapping[str, Callable[[Curve], Floats]]:
    """Return the metrics by name: without a limit only those without regions, with further limits also `pro@<limit>`.

    Example:
        >>> from dualclip_lightning.metrics.functional import metrics
        >>> list(metrics(further_limits=[0.05]))
        ['auroc', 'ap', 'f1max', 'pro', 'pro@0.05']
    """
    ranked = {"auroc": auroc, "ap": average_precision, "f1max": f1_max}
    if fpr_limit is None:
        return ranked
    further = {f"pro@{limit:g}": partial(pro, fpr_limit=limit) for limit in further_limits}
    return ranked | {"pro": partial(pro, fpr_limit=fpr_limit)} | further


def pro_200(ranking: Ranking) -> float:
    """Return PRO as in the tables of AnoCLIP and CLIP-AD, which is not the integral of `pro` and not comparable with
    it.

    Pixels above each of 200 thresholds, which rise in equal steps from the lowest score, are detected. Points with a
    false-positive rate below 0.3 are kept, the rate is divided by its largest kept value, and the area between the
    kept points is taken. NaN if fewer than two points or no false positive remain.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import pro_200
        >>> from dualclip_lightning.metrics.ranking import rank
        >>> scores = np.linspace(0, 1, 1000)
        >>> pro_200(rank([scores], anomalous=scores[-100:], areas=np.full(100, 100, np.int32)))  # one region, all above
        1.0
    """
    low, high = ranking.low, ranking.high
    thresholds = low + (high - low) / THRESHOLDS * np.arange(THRESHOLDS)
    found = ranking.counts(np.nextafter(thresholds, np.inf))
    rate, overlap = found[:, 0] / (ranking.size - ranking.anomalous.size), found[:, 2] / ranking.overlap[0]
    kept = rate < FPR_LIMIT
    if kept.sum() < 2 or not rate[kept].max():  # noqa: PLR2004 (an area needs two points)
        return float("nan")
    return float(_area((rate[kept] / rate[kept].max())[::-1], overlap[kept][::-1]))


def image_metrics(scores: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return AUROC, AP and F1max of scores [N] with labels [N] of 0 and 1, which must include both.

    Example:
        >>> from dualclip_lightning.metrics.functional import image_metrics
        >>> image_metrics([0.1, 0.4, 0.3, 0.8], [0, 0, 1, 1])["auroc"]
        0.75
    """
    scores, labels = np.asarray(scores).ravel(), np.asarray(labels).ravel().astype(bool)
    return _all_of(rank([scores], scores[labels], np.ones(labels.sum(), np.int32)), metrics(None))


def pixel_metrics(
    maps: ArrayLike, masks: ArrayLike, fpr_limit: float = FPR_LIMIT, connectivity: Connectivity = 8
) -> dict[str, float]:
    """Return AUROC, AP, F1max and PRO of maps [B, H, W] with masks [B, H, W], which must include both values.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.metrics.functional import pixel_metrics
        >>> masks = np.zeros((1, 8, 8), np.uint8)
        >>> masks[:, 2:4, 2:4] = 1
        >>> pixel_metrics(masks.astype(np.float32), masks)["pro"]
        1.0
    """
    maps, masks = np.asarray(maps), np.asarray(masks).astype(bool)
    areas = np.concatenate([region_areas(mask, connectivity) for mask in masks])
    return _all_of(rank([maps.ravel()], maps[masks], areas), metrics(fpr_limit))


def _all_of(ranking: Ranking, wanted: Mapping[str, Callable[[Curve], Any]]) -> dict[str, float]:
    curve = exact_curve(ranking)
    return {name: float(metric(curve)) for name, metric in wanted.items()}


def _area(x: Floats, y: Floats) -> Floats:
    return (np.diff(x) * (y[..., 1:] + y[..., :-1])).sum(-1) / 2

"""Confidence intervals by resampling images from the stored data of each image, without scoring again.

Images are taken with replacement, as many as there are, and the metrics of each resample are those of the sum of its
images' counts; the interval is between percentiles of the resamples (Efron & Tibshirani, 1993, ch. 13). It describes
the variation with other images of the same kind, not with other seeds. Resamples without a normal or an anomalous entry
have no metrics and are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from dualclip_lightning.metrics.functional import Curve, Floats, metrics
from dualclip_lightning.metrics.ranking import Ranking

POINTS = 256
"""Number of points kept of each image's own curve: 8 kB per image."""
COMMON = 1024
"""Number of thresholds at which the curves of all images are added."""
CONFIDENCE = 0.95
BLOCK = 32
"""Number of resamples in memory at once."""

Intervals = dict[str, tuple[float, float]]
Wanted = Mapping[str, Callable[[Curve], Floats]]


def sketch(ranking: Ranking) -> Floats:
    """Return thresholds of one image, descending, with the counts at or above each: [POINTS, 4].

    Half of them are spaced by the anomalous entries, where the curves bend, and the rest by all entries, densest at
    the top.
    """
    last = ranking.anomalous.size - 1
    anomalous = ranking.anomalous[np.linspace(0, last, POINTS // 2 if last >= 0 else 0).astype(np.int64)]
    ranks = np.geomspace(1, ranking.size, POINTS - anomalous.size).astype(np.int64) - 1
    thresholds = np.sort(np.concatenate([anomalous, ranking.at_ranks(ranks)]).astype(np.float64))[::-1]
    return np.column_stack([thresholds, ranking.counts(thresholds)])


def pixel_intervals(
    sketches: Floats,
    estimate: Mapping[str, float],
    fpr_limit: float,
    resamples: int,
    seed: int,
    further_limits: Sequence[float] = (),
) -> Intervals:
    """Return the interval of each metric from the sketches of images [I, POINTS, 4].

    The figure of the sketches differs slightly from `estimate`, equally in every resample; this offset is subtracted.
    """
    sketches = sketches[np.lexsort(sketches[:, :: POINTS // 8].reshape(len(sketches), -1).T)]
    pooled = np.sort(sketches[:, :, 0], axis=None)[::-1]
    common = pooled[np.linspace(0, pooled.size - 1, COMMON).astype(int)]
    counts = np.stack([_counts_at(image, common) for image in sketches])

    def curves(weights: Floats) -> Curve:
        summed = np.tensordot(weights, counts, axes=1)
        return Curve(*np.moveaxis(np.pad(summed, ((0, 0), (1, 0), (0, 0))), -1, 0))

    return _intervals(curves, estimate, metrics(fpr_limit, further_limits), resample(len(sketches), resamples, seed))


def image_intervals(images: Floats, estimate: Mapping[str, float], resamples: int, seed: int) -> Intervals:
    """Return the interval of each metric from the scores and labels of images [I, 2], without loss."""
    score, label = images[np.lexsort(images.T[::-1])][::-1].T
    curves = partial(image_curves, score, label)
    return _intervals(curves, estimate, metrics(None), resample(len(images), resamples, seed))


def image_curves(score: Floats, label: Floats, weights: Floats) -> Curve:
    """Return the curves of images with scores and labels [I], each counted with the weights [R, I]."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, [True]))
    kinds = ((1 - label)[order], label[order], label[order])
    found = [np.cumsum(weights[:, order] * kind, axis=1)[:, last] for kind in kinds]
    return Curve(*(np.pad(part, ((0, 0), (1, 0))) for part in found))


def _counts_at(image: Floats, thresholds: Floats) -> Floats:
    """Return the counts of one image [K, 3] at or above other thresholds, interpolated linearly."""
    return np.column_stack([np.interp(-thresholds, -image[:, 0], column, left=0) for column in image[:, 1:].T])


def resample(images: int, resamples: int, seed: int | Sequence[int]) -> Iterator[Floats]:
    """Yield how often each image is taken, in blocks [<= BLOCK, I]; the first resample has every image once."""
    random = np.random.default_rng(seed)
    yield np.ones((1, images))
    for start in range(0, resamples, BLOCK):
        size = min(BLOCK, resamples - start)
        yield random.multinomial(images, np.full(images, 1 / images), size=size).astype(np.float64)


def _intervals(
    curves: Callable[[Floats], Curve], estimate: Mapping[str, float], wanted: Wanted, resamples: Iterator[Floats]
) -> Intervals:
    """Return percentiles over the resamples of each metric; the first resample has every image once."""
    with np.errstate(divide="ignore", invalid="ignore"):
        blocks = [{name: metric(curve) for name, metric in wanted.items()} for curve in map(curves, resamples)]
    values = {name: np.concatenate([block[name] for block in blocks]) for name in wanted}
    return {name: _percentiles(estimate[name] + found[1:] - found[0]) for name, found in values.items()}


def _percentiles(values: Floats) -> tuple[float, float]:
    if np.isnan(values).all():
        return float("nan"), float("nan")
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.clip(np.nanpercentile(values, [tail, 100 - tail]), 0, 1)
    return float(low), float(high)

"""Thresholds taken from the scores of images; they assume no distribution, and a score can always reach them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import betaincinv

from dualclip_lightning.predict.limits import RATE
from dualclip_lightning.predict.scoring.thresholds import Scored, Threshold, counted, same_kind

REMEDY = "Give images believed good (--good FOLDER, or Detector.calibrate), or a number (--threshold)."
HIGHEST_PIXEL = float(np.nextafter(np.float32(1), np.float32(0)))
"""Highest pixel threshold, below 1 so that a map that is saturated at 1 can lie above it."""


class NoThresholdError(ValueError):
    """Error for scores that give no usable threshold; the message says why and what to do."""


def from_good(
    images: Sequence[Scored],
    false_alarm_rate: float = RATE,
    confidence: float = 0.95,
    settings: Mapping[str, Any] | None = None,
) -> Threshold:
    """Return a quantile of the scores of images believed good, with the false alarms to expect on similar images.

    If the threshold is the k-th smallest of n scores, the share of further such images above it is distributed as
    Beta(n + 1 - k, k), whatever the distribution of scores (order statistics; Wilks 1941): its mean is the expected
    rate, and its quantiles give the interval. k is the smallest for which the mean is at most the requested rate, or n.

    Args:
        images: images believed good. If any was compared with references, those that were not are ignored.
        false_alarm_rate: requested rate, in (0, 1).
        confidence: confidence of the interval, in (0, 1).
        settings: settings of the detector.

    Raises:
        NoThresholdError: If the k-th smallest score is 1, above which no image can lie.
        ValueError: If there is no image, a score is not finite, or the rate or confidence is out of range.
    """
    check_shares(false_alarm_rate=false_alarm_rate, confidence=confidence)
    scores, peaks, compared = _sorted(images)
    n = len(scores)
    if n == 0:
        msg = "Expected at least one good image to take a threshold from, but got none."
        raise ValueError(msg)
    k = min(n, math.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9))
    if scores[k - 1] >= 1:
        msg = f"No usable threshold: {n + 1 - k} of {n} good images have the highest possible score. "
        msg += "Give a number (--threshold)."
        raise NoThresholdError(msg)
    expected = (n + 1 - k) / (n + 1)
    tail = (1 - confidence) / 2
    low, high = betaincinv(n + 1 - k, k, (tail, 1 - tail))
    short = k == n and expected > false_alarm_rate + 1e-9
    need = math.ceil(1 / false_alarm_rate) - 1
    few = f" A rate of {false_alarm_rate:.1%} needs {need} good images." if short else ""
    return Threshold(
        score=float(scores[k - 1]),
        pixel=min(float(peaks[k - 1]), HIGHEST_PIXEL),
        kind="good",
        false_alarm_rate=expected,
        interval=(float(low), float(high)),
        confidence=confidence,
        images=n,
        assumption=f"It comes from {counted(n, 'image')} believed good. The rate assumes that later normal images are "
        f"like them.{few}",
        settings=dict(settings or {}),
        compared=compared,
        scores=tuple(scores.tolist()),
    )


def from_run(
    images: Sequence[Scored],
    false_alarm_rate: float = RATE,
    confidence: float = 0.95,
    settings: Mapping[str, Any] | None = None,
) -> Threshold:
    """Return the score above which the highest k of n unlabelled images lie; k / n is at most the requested rate.

    If an anomalous image is at least as likely to lie above as a normal one, the expected share of the normal images
    above is at most k / n. If both are equally likely, the number of normal images above is hypergeometric, which gives
    the upper end of the interval: the largest over all shares of normal images of at least a half. The lower end is 0,
    because all images above may be anomalous. No distribution of scores is assumed. In return, no more than k images
    are found, however many are anomalous.

    Args:
        images: images of the run. If any was compared with references, those that were not are ignored.
        false_alarm_rate: requested rate, in (0, 1).
        confidence: confidence of the interval, in (0, 1).
        settings: settings of the detector.

    Raises:
        NoThresholdError: If there are fewer than 1 / rate images, or more images share the highest score than the rate
            allows.
        ValueError: If a score is not finite, or the rate or confidence is out of range.
    """
    check_shares(false_alarm_rate=false_alarm_rate, confidence=confidence)
    scores, peaks, compared = _sorted(images)
    n = len(scores)
    most = math.floor(n * false_alarm_rate + 1e-9)
    if most == 0:
        need = math.ceil(1 / false_alarm_rate - 1e-9)
        msg = f"No usable threshold: a rate of {false_alarm_rate:.1%} needs {need} unlabelled images, but there "
        msg += f"{'is' if n == 1 else 'are'} {n}. {REMEDY}"
        raise NoThresholdError(msg)
    score = float(scores[n - 1 - most])
    above = int((scores > score).sum())
    if above == 0:
        tied = int((scores == score).sum())
        msg = f"No usable threshold: {tied} of {n} images share the highest score, {score:.4f}. {REMEDY}"
        raise NoThresholdError(msg)
    return Threshold(
        score=score,
        pixel=min(float(peaks[n - 1 - above]), HIGHEST_PIXEL),
        kind="run",
        false_alarm_rate=above / n,
        interval=(0.0, _most_normal_above(n, above, confidence)),
        confidence=confidence,
        images=n,
        assumption=(
            f"It lies below the {above} highest of the {n} unlabelled images, however many are anomalous. To find "
            "more, give good images (--good) or a higher --false-alarm-rate. The rate assumes that at least half of "
            "the images are normal, and that an anomalous image is at least as likely to lie above as a normal one."
        ),
        settings=dict(settings or {}),
        compared=compared,
        scores=tuple(scores.tolist()),
    )


def for_later_images(threshold: Threshold) -> Threshold:
    """Return the threshold as it applies to images other than those that it was taken from.

    Thresholds from good images and fixed thresholds already apply to others. Of the n images of a run, k lie above
    by construction. A further normal image takes any of n + 1 ranks, so it lies above with a probability of at most
    (k + 1) / (n + 1). That is the mean of Beta(k + 1, n - k), whose quantile is the upper end of the interval (order
    statistics; Wilks 1941). Anomalous images in the run, at least as likely to lie above as normal ones, only raise the
    threshold.
    """
    if threshold.kind != "run":
        return threshold
    n, above = len(threshold.scores), sum(score > threshold.score for score in threshold.scores)
    return replace(
        threshold,
        kind="earlier run",
        false_alarm_rate=(above + 1) / (n + 1),
        interval=(0.0, float(betaincinv(above + 1, n - above, threshold.confidence))),
        assumption=f"It lies below the {above} highest of {n} unlabelled images of an earlier run. The rate assumes "
        "that later normal images are like its normal images, and that an anomalous image is at least as likely to lie "
        "above as a normal one.",
    )


def _most_normal_above(n: int, above: int, confidence: float) -> float:
    """Return the upper end of the share of normal images above.

    The images above may be any of the n, and at least half of the n are normal.
    """
    from scipy.stats import hypergeom  # noqa: PLC0415 - takes nearly a second, and not every run needs it

    normal = np.arange(math.ceil(n / 2), n + 1)
    return float((hypergeom(n, normal, above).ppf(confidence) / normal).max())


def check_shares(**shares: float) -> None:
    """Check that every share lies strictly between 0 and 1.

    Raises:
        ValueError: If one does not; the message names it.
    """
    for name, value in shares.items():
        if not 0 < value < 1:
            msg = f"Expected {name} to be above 0 and below 1, but got {value}."
            raise ValueError(msg)


def _sorted(images: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return scores and peaks of images of one kind, each in ascending order, and whether they were compared.

    Raises:
        ValueError: If one is not finite.
    """
    alike: list[Scored] = same_kind(images)
    scores, peaks = (np.sort(np.array(values, dtype=float)) for values in ([i.score for i in alike],
                                                                            [i.peak for i in alike]))  # fmt: skip
    if not (np.isfinite(scores).all() and np.isfinite(peaks).all()):
        msg = "Expected finite numbers, but there is NaN or infinity among them."
        raise ValueError(msg)
    return scores, peaks, any(bool(image.references) for image in alike)

"""Decisions without labels: from images believed good, from the unlabelled run itself, or as the user says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from scipy.special import betaincinv

from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.predict.limits import ASSUMED_RATE, GOOD_RATE

VERSION = 1
Kind = Literal["good", "robust", "fixed"]
MAD_TO_SIGMA = 1.4826
"""For a normal distribution, the standard deviation over the median absolute deviation."""
FEWEST_UNLABELLED = 8


@dataclass(frozen=True)
class Threshold:
    """Above which score an image, and above which value of its map a pixel, counts as anomalous.

    Args:
        score: for image scores.
        pixel: for maps; None for no decision on pixels.
        kind: "good" from images believed good, "robust" from an unlabelled run, "fixed" as the user says.
        false_alarm_rate: expected share of normal images above `score`; None where nothing was measured or assumed.
        interval: where that share lies with the confidence below; None where it was not measured.
        confidence: of the interval.
        images: how many images it comes from.
        assumption: what must hold for it to mean what it says.
        settings: of the detector that gave the scores; another one's scores mean something else.

    Raises:
        ValueError: `score` or `pixel` is not finite.
    """

    score: float
    pixel: float | None = None
    kind: Kind = "fixed"
    false_alarm_rate: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    images: int = 0
    assumption: str = "chosen by the user"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _finite(self.score, 0.0 if self.pixel is None else self.pixel)

    def decide(self, score: float) -> str:
        """Either "anomalous" or "normal"."""
        return "anomalous" if score > self.score else "normal"

    def describe(self) -> str:
        """One sentence on where it comes from and what to expect."""
        pixel = "" if self.pixel is None else f" (pixels {self.pixel:.4f})"
        text = f"Threshold {self.score:.4f}{pixel}, {self.assumption}"
        if self.false_alarm_rate is not None:
            text += f"; expected false alarms {self.false_alarm_rate:.1%}"
        if self.interval is not None:
            text += f", {self.confidence:.0%} interval {self.interval[0]:.1%} to {self.interval[1]:.1%}"
        return f"{text}."

    def save(self, path: str | Path) -> None:
        """Write it as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        content = {"version": VERSION, **asdict(self)}
        write_bytes_atomically(Path(path), (json.dumps(content, indent=2, default=str) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Threshold:
        """Read what `save` wrote.

        Raises:
            ValueError: no such file, or not a threshold.
        """
        try:
            return cls._from_facts(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            msg = f"Cannot read a threshold from '{path}' ({error}). Make one with --good FOLDER or Threshold.save."
            raise ValueError(msg) from error

    @classmethod
    def _from_facts(cls, facts: dict[str, Any]) -> Threshold:
        if facts.pop("version") != VERSION:
            msg = f"it is not of version {VERSION}"
            raise ValueError(msg)
        interval = facts.pop("interval")
        return cls(**facts, interval=None if interval is None else (float(interval[0]), float(interval[1])))

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse to judge the scores of another detector; a fixed threshold without settings fits all.

        Raises:
            ValueError: names what differs.
        """
        own, others = _as_stored(self.settings), _as_stored(settings)
        differing = [key for key in others if own and own.get(key) != others[key]]
        if differing:
            changes = ", ".join(f"{key} ({own.get(key)!r}, now {others[key]!r})" for key in differing)
            msg = f"The threshold was made with other settings: {changes}. Use those, or make a new threshold."
            raise ValueError(msg)


def from_good(
    scores: Sequence[float],
    peaks: Sequence[float],
    false_alarm_rate: float = GOOD_RATE,
    confidence: float = 0.95,
    settings: Mapping[str, Any] | None = None,
) -> Threshold:
    """A quantile of images believed good, with the false alarms to expect of more images like them.

    With the k-th smallest of n scores as threshold, the share of further such images above it is distributed as
    Beta(n + 1 - k, k), whatever the distribution of scores (order statistics; Wilks 1941): its mean is the expected
    rate, its quantiles the interval. k is the smallest whose mean is no more than asked, or n.

    Args:
        scores: of the good images.
        peaks: the largest value of each of their maps; a pixel counts as anomalous above the same quantile of these,
            so that the rate is that of good images with any such pixel.
        false_alarm_rate: asked, in (0, 1).
        confidence: of the interval, in (0, 1).
        settings: of the detector.

    Raises:
        ValueError: no score, scores that are not finite, or a rate or confidence out of range.
    """
    _shares(false_alarm_rate=false_alarm_rate, confidence=confidence)
    _finite(*scores, *peaks)
    n = len(scores)
    if n == 0:
        msg = "Expected at least one good image to take a threshold from, but got none."
        raise ValueError(msg)
    k = min(n, math.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9))
    expected = (n + 1 - k) / (n + 1)
    tail = (1 - confidence) / 2
    low, high = betaincinv(n + 1 - k, k, (tail, 1 - tail))
    short = k == n and expected > false_alarm_rate + 1e-9
    few = f"; {math.ceil(1 / false_alarm_rate) - 1} would do for {false_alarm_rate:.1%}" if short else ""
    return Threshold(
        score=float(np.sort(scores)[k - 1]),
        pixel=float(np.sort(peaks)[k - 1]),
        kind="good",
        false_alarm_rate=expected,
        interval=(float(low), float(high)),
        confidence=confidence,
        images=n,
        assumption=f"from {n} image(s) believed good, of which later normal images are assumed to be like{few}",
        settings=dict(settings or {}),
    )


def from_run(
    scores: Sequence[float],
    peaks: Sequence[float],
    false_alarm_rate: float = ASSUMED_RATE,
    settings: Mapping[str, Any] | None = None,
) -> Threshold:
    """Median and median absolute deviation of an unlabelled run: robust to anomalies among less than half of it.

    Args:
        scores: of all images of the run.
        peaks: the largest value of each of their maps.
        false_alarm_rate: for normal images under the assumption that it states, in (0, 1).
        settings: of the detector.

    Raises:
        ValueError: fewer images than `FEWEST_UNLABELLED`, scores that are not finite or not spread, or a rate out of
            range.
    """
    _shares(false_alarm_rate=false_alarm_rate)
    _finite(*scores, *peaks)
    if len(scores) < FEWEST_UNLABELLED:
        msg = (
            f"Expected at least {FEWEST_UNLABELLED} images for a threshold from the run itself, but got {len(scores)}. "
            "Give a folder of good images or a number instead."
        )
        raise ValueError(msg)
    deviations = NormalDist().inv_cdf(1 - false_alarm_rate)
    return Threshold(
        score=_robust_bound(scores, deviations),
        pixel=_robust_bound(peaks, deviations),
        kind="robust",
        false_alarm_rate=false_alarm_rate,
        images=len(scores),
        assumption=(
            f"median + {deviations:.2f} robust deviations of {len(scores)} unlabelled images, assuming that more than "
            "half are normal and that their scores are normally distributed"
        ),
        settings=dict(settings or {}),
    )


def _robust_bound(values: Sequence[float], deviations: float) -> float:
    median = float(np.median(values))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(np.asarray(values) - median)))
    if spread == 0:
        msg = "More than half of the scores are equal, so that they have no spread to take a threshold from. Give one."
        raise ValueError(msg)
    return median + deviations * spread


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a file, where tuples are lists."""
    return json.loads(json.dumps(settings, default=str))


def _shares(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            msg = f"Expected {name} to be above 0 and below 1, but got {value}."
            raise ValueError(msg)


def _finite(*values: float) -> None:
    if not all(map(math.isfinite, values)):
        msg = "Expected finite numbers, but there is NaN or infinity among them."
        raise ValueError(msg)

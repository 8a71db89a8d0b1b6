"""Decisions without labels: thresholds, their decisions on images, and their files."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dualclip_lightning.registry import current_name
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.record import as_read

VERSION = 2
Kind = Literal["good", "run", "earlier run", "fixed"]
Word = Literal["anomalous", "normal", ""]


class Scored(Protocol):
    """An image with its score."""

    @property
    def score(self) -> float:
        """The score of the image, in [0, 1]."""

    @property
    def peak(self) -> float:
        """The largest value of its map."""

    @property
    def references(self) -> tuple[str, ...]:
        """The images it was compared with."""


class Decision(NamedTuple):
    """The decision of a threshold on an image."""

    word: Word = ""
    """The decision; empty if the threshold makes none."""
    p_value: float | None = None
    """Estimated share of normal images that score at least as high; None for a fixed threshold."""
    reason: str = ""
    """The reason why there is no decision, or a note on the marked pixels."""


@dataclass(frozen=True)
class Threshold:
    """The score above which an image counts as anomalous, and the value above which its pixels do.

    Args:
        score: threshold of image scores, in [0, 1).
        pixel: threshold of the maps of anomalous images, in [0, 1); None takes `score`.
        kind: "good" if taken from images believed good, "run" from the unlabelled run that it decides, "earlier run"
            from an earlier unlabelled run (`quantiles.for_later_images`), "fixed" if chosen by the user.
        false_alarm_rate: share of normal images above `score`: the expected share for "good", an upper bound for a
            run; None if it was not measured.
        interval: interval of that share at the confidence below; None if it was not measured.
        confidence: confidence of the interval.
        images: number of images that it was taken from.
        assumption: assumption under which the threshold is valid.
        settings: settings of the detector that gave the scores; scores of other settings are not comparable.
        compared: True if it comes from images that were compared with references, False if from text scores, which
            lie on another level; None decides both.
        scores: scores from which it was taken, in ascending order.

    Raises:
        ValueError: If `score` or `pixel` is not in [0, 1), so that no image, or every image, would lie above.

    Example:
        >>> from dualclip_lightning.predict import Threshold
        >>> threshold = Threshold(0.4, kind="good", scores=(0.1, 0.2, 0.3))  # `Detector.calibrate` makes one of images
        >>> threshold.p_value(0.35), threshold.p_value(0.15)
        (0.25, 0.75)
    """

    score: float
    pixel: float | None = None
    kind: Kind = "fixed"
    false_alarm_rate: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    images: int = 0
    assumption: str = "It was chosen by the user."
    settings: Mapping[str, Any] = field(default_factory=dict)
    compared: bool | None = None
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, value in {"threshold": self.score, "pixel threshold": self.pixel}.items():
            if value is not None and not 0 <= value < 1:
                msg = f"Expected the {name} to be in [0, 1), because scores lie in [0, 1], but got {value}."
                raise ValueError(msg)

    def decide(self, image: Scored) -> Decision:
        """Decide whether an image is anomalous.

        There is no decision if only one of the image and the images of the threshold was compared with references.
        """
        if self.compared is not None and self.compared != bool(image.references):
            return Decision(reason=_other_kind(self.compared))
        if image.score <= self.score:
            return Decision("normal", self.p_value(image.score))
        reason = "" if image.peak > self._pixel else f"no pixel lies above {self._pixel:.4f}, the highest is marked"
        return Decision("anomalous", self.p_value(image.score), reason)

    def p_value(self, score: float) -> float | None:
        """Return the share of the threshold's own scores that are at least as high; None if it has none.

        For images believed good it is the conformal p-value (1 + number) / (n + 1), valid for any further image like
        them (Vovk et al., Algorithmic Learning in a Random World, 2005). The same holds for an earlier run, where
        anomalous images only raise it. For the run that the threshold decides, which contains the image itself, it is
        number / n, and never 0.
        """
        n = len(self.scores)
        above = n - bisect_left(self.scores, score)
        if self.kind in {"good", "earlier run"}:
            return (1 + above) / (n + 1)
        return max(1, above) / n if n else None

    def level(self, image: Scored, patch_map: npt.NDArray[np.float32]) -> float | None:
        """Return the value of an image's map above which pixels are marked, or None to mark none.

        No pixels of a normal image are marked, and some of an anomalous one. `patch_map` is the map drawn with one
        pixel per patch. If no patch of an anomalous image lies above `pixel`, the value is halfway between its highest
        patch and the next, so that its highest place is marked.
        """
        if self.decide(image).word != "anomalous":
            return None
        if image.peak > self._pixel:
            return self._pixel
        lower = patch_map[patch_map < image.peak]
        return (image.peak + float(lower.max())) / 2 if lower.size else float(np.nextafter(np.float32(image.peak), -1))

    @property
    def _pixel(self) -> float:
        return self.score if self.pixel is None else self.pixel

    def describe(self) -> str:
        """Return a description: the values, the expected false alarms, the origin and the assumption."""
        text = f"Threshold {self.score:.4f} (pixels {self._pixel:.4f})"
        if self.false_alarm_rate is not None:
            text += f"; expected false alarms: {'at most ' * (self.kind != 'good')}{self.false_alarm_rate:.1%}"
        if self.interval is not None:
            text += f" ({self.confidence:.0%} interval {self.interval[0]:.1%} to {self.interval[1]:.1%})"
        return f"{text}. {self.assumption}"

    def save(self, path: str | Path) -> None:
        """Write the threshold as JSON.

        Raises:
            OSError: If the file cannot be written.
        """
        write_bytes_atomically(Path(path), (json.dumps(self.as_facts(), indent=2) + "\n").encode())

    def as_facts(self) -> dict[str, Any]:
        """Return the threshold as plain data, from which `from_facts` makes the same."""
        return {"version": VERSION, **_as_stored(asdict(self))}

    @classmethod
    def load(cls, path: str | Path) -> Threshold:
        """Read a threshold that `save` wrote.

        Raises:
            ValueError: If the file does not exist or does not contain a threshold.
        """
        try:
            return cls.from_facts(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            msg = f"Cannot read a threshold from '{path}' ({error}). Make one with --good FOLDER or Threshold.save."
            raise ValueError(msg) from error

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Threshold:
        """Return the threshold that `as_facts` described.

        Raises:
            KeyError, TypeError or ValueError: If the facts do not describe one of this version.
        """
        facts = dict(facts)
        if facts.pop("version") != VERSION:
            msg = f"it is not of version {VERSION}"
            raise ValueError(msg)
        interval, scores = facts.pop("interval"), tuple(map(float, facts.pop("scores")))
        if list(scores) != sorted(scores):
            msg = "its scores are not in ascending order"
            raise ValueError(msg)
        return cls(**facts, interval=None if interval is None else (float(interval[0]), float(interval[1])),
                   scores=scores)  # fmt: skip

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that the scores come from the same detector; a fixed threshold without settings fits all.

        Raises:
            ValueError: If they do not; the message names the settings that differ.
        """
        own, others = _as_stored(self.settings), _as_stored(settings)
        differing = [key for key in others if own and own.get(key) != others[key]]
        if differing:
            changes = ", ".join(f"{key} ({own.get(key)!r}, now {others[key]!r})" for key in differing)
            msg = f"The threshold was made with other settings: {changes}. Use those, or make a new threshold."
            raise ValueError(msg)


def marked(values: npt.NDArray[np.float32], level: float | None) -> npt.NDArray[np.bool_]:
    """Return which values of a drawn map are marked at a `Threshold.level`; at least the highest unless it is None.

    A map that is drawn smaller than its patches may not reach the value of the highest patch.
    """
    if level is None:
        return np.zeros(values.shape, dtype=bool)
    above = values > np.float64(level)  # a plain float would be rounded to the precision of the map
    return above if above.any() else values >= values.max()


def counted(number: int, what: str) -> str:
    """Return a number with its noun, which is in the plural unless the number is one."""
    return f"{number} {what}" + "s" * (number != 1)


def same_kind(images: Sequence[Scored]) -> list[Any]:
    """Return the images that were compared with references, or all if none was; the scores are on different levels."""
    return [image for image in images if image.references] or list(images)


def _other_kind(compared: bool) -> str:
    if compared:
        return (
            "no decision: the image was compared with no other, and the threshold is for images that were; score it "
            "together with others or with images of the product"
        )
    return "no decision: the image was compared with others, and the threshold is for images scored by text only"


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as read back from a file, where tuples are lists, with the current name of the method."""
    stored: dict[str, Any] = as_read(settings)
    return stored | {"method": current_name(stored["method"])} if "method" in stored else stored

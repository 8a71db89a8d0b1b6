"""A worker, which scores one share of the images of a run in a process of its own, on this or another machine.

The references of an image depend only on the set of images, so that every worker knows them and none waits for another.
Groups of images that reference each other stay together. Nothing is padded, so no image is scored twice and none is
missing. Every outcome goes at once to the process that started the run, the only one that writes: it has one journal
for all shares, and machines need no folder in common for the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from platform import node
from typing import Any, NamedTuple, Protocol

import torch

from dualclip_lightning.images.sources import Source
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome, Share
from dualclip_lightning.predict.output.journal import file_stamp
from dualclip_lightning.predict.output.log import changed_settings
from dualclip_lightning.utilities.record import as_read
from dualclip_lightning.utilities.versions import ADAPTATION, SCORING, versions


class DeviceError(RuntimeError):
    """Error for a process that ended before its share was done."""


class Worker(NamedTuple):
    """Settings of a process that scores its share."""

    arguments: Mapping[str, Any]
    """Arguments of its detector, as for `make_detector`."""
    threads: int
    """Number of CPU threads for computation."""
    share: Share


class Runner(Protocol):
    """Where the images of a run are scored."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers, each with its device."""

    def __call__(
        self, detector: Detector, sources: Sequence[Source], done: AbstractSet[int]
    ) -> Iterator[tuple[int, Outcome]]:
        """Score images with a detector or with others of the same settings; same as `Detector.score`."""


def make_detector(arguments: Mapping[str, Any]) -> Detector:
    """Make a detector from its arguments, or load it if they name a bundle.

    Raises:
        Exception: Same as `Detector` or `Detector.load`.
    """
    if "bundle" not in arguments:
        return Detector(**arguments)
    return Detector.load(arguments["bundle"], **{name: arguments[name] for name in arguments if name != "bundle"})


def score_settings(detector: Detector) -> dict[str, Any]:
    """Return all that a detector's scores depend on: its settings, the state of its references, and the libraries."""
    known = detector.features_digest
    references = [[name, file_stamp(name)] for name in detector.reference_names] if known is None else known
    return {
        **detector.settings, "reference_images": references, "versions": versions(*SCORING, *ADAPTATION),
    }  # fmt: skip


def score_share(
    worker: Worker, settings: Mapping[str, Any], sources: Sequence[Source], done: AbstractSet[int]
) -> Iterator[tuple[int, Outcome]]:
    """Score the share of a worker in this process.

    Args:
        worker: the worker.
        settings: settings on which the scores of the run depend.
        sources: all images of the run.
        done: positions of the images that are already scored.

    Raises:
        ValueError: If the scores would depend on other settings here, for example on other weights.
        Exception: Any error of the detector.
    """
    torch.set_num_threads(worker.threads)
    detector = make_detector(worker.arguments)
    _check_settings(settings, score_settings(detector))
    yield from detector.score(sources, done, share=worker.share)


def _check_settings(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    if changed := changed_settings(as_read(wanted), as_read(found)):
        msg = (
            f"Images would be scored differently on '{node()}' than by the process that started the run (differs: "
            f"{changed}). Every machine needs the same versions, weights and reference images."
        )
        raise ValueError(msg)

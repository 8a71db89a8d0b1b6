"""The results of a run, and the interface for reporting its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.scoring.thresholds import Threshold


class Reporter(Protocol):
    """Receiver of the progress of a run."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """Start a stage of `total` images, of which `done` are already done."""

    def advance(self) -> None:
        """Count one more image as done."""


class Silent:
    """Reporter that prints nothing."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """See `Reporter`."""

    def advance(self) -> None:
        """See `Reporter`."""


@dataclass
class Report:
    """The results of a run."""

    entries: list[Entry] = field(default_factory=list)
    """Scored images in the order given."""
    failures: list[Failure] = field(default_factory=list)
    resumed: int = 0
    """Number of images that an earlier run had scored."""
    threshold: Threshold | None = None

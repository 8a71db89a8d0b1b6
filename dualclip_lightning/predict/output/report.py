"""What a run found, and who hears how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.scoring.thresholds import Threshold


class Reporter(Protocol):
    """Hears how far a run is."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage starts, of which some is done already."""

    def advance(self) -> None:
        """One more image."""


class Silent:
    """Says nothing."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """See `Reporter`."""

    def advance(self) -> None:
        """See `Reporter`."""


@dataclass
class Report:
    """What a run found."""

    entries: list[Entry] = field(default_factory=list)
    """Scored images in the order given."""
    failures: list[Failure] = field(default_factory=list)
    resumed: int = 0
    """How many of them an earlier run had scored."""
    threshold: Threshold | None = None

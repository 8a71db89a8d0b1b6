"""What is left of a process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """Exit status of a process, and what it printed."""

    status: int
    out: str
    err: str

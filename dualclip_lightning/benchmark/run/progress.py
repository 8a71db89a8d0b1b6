"""Progress of a benchmark in a terminal: one row for each method and data set, and the remaining time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.run.local_runner import Event
from dualclip_lightning.benchmark.status import DONE

REFRESHES_A_SECOND = 2


@dataclass
class Line:
    """One method on one data set."""

    total: int = 0
    done: int = 0
    failed: int = 0
    seconds: list[float] = field(default_factory=list)
    """Seconds of the cells that finished in this run."""
    running: dict[str, str] = field(default_factory=dict)
    """Running cells by key."""


class Board:
    """Counts of cells by method and data set.

    Args:
        cells: all cells of the plan.
        finished: keys of the cells that an earlier run finished.
        workers: number of cells that run at once; it is raised if more are observed, as on a growing cluster.
    """

    def __init__(self, cells: Sequence[Cell], finished: Iterable[str], workers: int) -> None:
        self.lines: dict[tuple[str, str], Line] = {}
        self.workers = workers
        earlier = set(finished)
        for cell in cells:
            line = self.lines.setdefault((cell.method, cell.dataset), Line())
            line.total += 1
            line.done += cell.key in earlier

    def note(self, event: Event) -> None:
        """Count an event."""
        cell, row = event
        line = self.lines[cell.method, cell.dataset]
        if row is None:
            line.running[cell.key] = f"{cell.category}, seed {cell.seed}"
            self.workers = max(self.workers, sum(len(each.running) for each in self.lines.values()))
            return
        line.running.pop(cell.key, None)
        if row["status"] != DONE:
            line.failed += 1
            return
        line.done += 1
        line.seconds.append(row["seconds"])

    def seconds_left(self) -> float | None:
        """Estimate the seconds left from the mean of each method and data set, or of all; None before the first."""
        known = [seconds for line in self.lines.values() for seconds in line.seconds]
        if not known:
            return None
        mean = sum(known) / len(known)
        work = sum(
            (line.total - line.done - line.failed) * (sum(line.seconds) / len(line.seconds) if line.seconds else mean)
            for line in self.lines.values()
        )
        return work / max(self.workers, 1)

    def __rich__(self) -> Group:
        table = Table("method", "data set", "cells", "failed", "s/cell", "now", box=None)
        for (method, dataset), line in self.lines.items():
            mean = f"{sum(line.seconds) / len(line.seconds):.1f}" if line.seconds else ""
            failed = f"[red]{line.failed}[/]" if line.failed else ""
            table.add_row(Text(method), Text(dataset), f"{line.done}/{line.total}", failed, mean,
                          Text("; ".join(line.running.values())))  # fmt: skip
        return Group(table, Text(self._summary()))

    def _summary(self) -> str:
        total, over = (
            sum(values) for values in zip(*((x.total, x.done + x.failed) for x in self.lines.values()), strict=True)
        )
        left = self.seconds_left()
        return f"{over} of {total} cells" + ("" if left is None else f", about {_clock(left)} left")


def watched(events: Iterable[Event], board: Board, console: Console) -> Iterator[Event]:
    """Pass events through, and show a table of them in a terminal."""
    if not console.is_terminal:
        yield from events
        return
    with Live(board, console=console, refresh_per_second=REFRESHES_A_SECOND):
        for event in events:
            board.note(event)
            yield event


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

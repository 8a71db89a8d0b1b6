"""Progress of a run: a bar on a terminal, or regular lines in a pipe or a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from typing_extensions import Self

EVERY_SECONDS = 10.0
"""Seconds between lines if there is no terminal."""


class ProgressReporter:
    """Reporter of the stages of a run (see `report.Reporter`).

    Args:
        console: console to report to.
        clock: function that returns the time in seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
        self._console = console
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._clock = clock
        self._stage, self._total, self._done, self._before = "", 0, 0, 0
        self._begun = self._said = 0.0
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begin(self, stage: str, total: int, done: int) -> None:
        """Start a stage, some of whose images were done by an earlier run."""
        if done:
            self._print(f"Continuing: {done} of {total} done before.")
        self._stage, self._total, self._done, self._before = stage, total, done, done
        self._begun = self._said = self._clock()
        self._task = self._bar.add_task(stage, total=total, completed=done)
        if done < total:
            self._line(f"{stage}: {total - done} to do")

    def advance(self) -> None:
        """Count one more image as done."""
        self._done += 1
        if self._task is not None:
            self._bar.advance(self._task)
        now = self._clock()
        if now - self._said >= EVERY_SECONDS or self._done == self._total:
            self._said = now
            self._line(self._state(now - self._begun))

    def _state(self, seconds: float) -> str:
        text = f"{self._stage}: {self._done} of {self._total}"
        if seconds <= 0:
            return text
        rate = (self._done - self._before) / seconds
        left = timedelta(seconds=round((self._total - self._done) / rate))
        return f"{text}, {rate:.1f} images/s" + f", {left} left" * (self._done < self._total)

    def _line(self, text: str) -> None:
        """Print a line if there is no bar."""
        if not self._console.is_terminal:
            self._print(text)

    def _print(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


class _Rate(ProgressColumn):
    """Column that shows the images per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} images/s")

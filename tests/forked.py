"""Commands in a fork of the test process, which does not need to import the libraries again."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import IO

import torch

from tests.ended import Ended


class Forked:
    """A running fork of this process that prints into files and leads its own process group.

    Args:
        call: the function to run, which returns the exit status.
        place: the working folder.
        environment: variables that differ from those of this process.
    """

    def __init__(self, call: Callable[[], int | None], place: Path, **environment: str) -> None:
        self._printed = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - read when it has ended
        arguments = (call, place, environment, *self._printed)
        self._process = get_context("fork").Process(target=_child, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        """Process ID."""
        return int(self._process.pid or 0)

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        self._process.kill()

    def end(self) -> Ended:
        """Wait until the process has ended, and kill it if the wait is interrupted."""
        try:
            self._process.join()
        finally:
            self.kill()
        for file in self._printed:
            file.seek(0)
        out, err = (file.read().decode() for file in self._printed)
        return Ended(int(self._process.exitcode or 0), out, err)


def _child(
    call: Callable[[], int | None], place: Path, environment: dict[str, str], out: IO[bytes], err: IO[bytes]
) -> None:
    """Run `call` as in a new process: own streams, Python's default signals and warnings, and no log handlers."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    for number, file in enumerate((out, err), 1):
        os.dup2(file.fileno(), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    logging.getLogger().handlers.clear()
    warnings.showwarning = _print_warning
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    os.chdir(place)
    os.environ |= environment
    try:
        status = call()
    except Exception:  # noqa: BLE001 - multiprocessing would print it without asking the hook
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.exit(status)


def _print_warning(message, category, filename, lineno, *_) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))

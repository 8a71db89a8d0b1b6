"""A pool of child processes that exchange messages with the process that started them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

GRACE_SECONDS = 0.1
"""Seconds for a process to end by itself once its connection is closed."""
STOP_SECONDS = 5.0
"""Seconds for a process to end after it was terminated."""


class ProcessEndedError(RuntimeError):
    """Error for a process that ended instead of sending a message, for example because the system ran out of memory."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"The process ended with exit code {exit_code}.")
        self.exit_code = exit_code


class ParentProcess:
    """Connection to the process that started this one; this process exits if that has ended or left the pool."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: Any) -> None:
        """Send a message, which must be picklable."""
        try:
            self._connection.send(message)
        except OSError:
            sys.exit()

    def receive(self) -> Any:
        """Wait for a message."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            sys.exit()


class ChildProcess:
    """Process that calls `work(parent, *arguments)`, where `parent` is a `ParentProcess`.

    It is spawned, because a fork would inherit threads and CUDA in an unusable state; `work` must therefore be a
    function of a module, and the arguments picklable. The parent process handles interrupts.
    """

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(work, theirs, *arguments))
        self.process.start()
        theirs.close()  # so that the connection closes when the process ends

    def send(self, message: Any) -> None:
        """Send a message; if the process has ended, `receive` reports it."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Wait for a message.

        Raises:
            ProcessEndedError: the process ended, and all its messages have been received.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise ProcessEndedError(self.process.exitcode) from error

    def join(self) -> None:
        """Wait for the end of the process."""
        self.process.join()


class ProcessPool:
    """Child processes that end with the `with` block: idle ones by themselves, busy ones by termination.

    If this process is killed, each child ends when it next sends or awaits a message.
    """

    def __init__(self) -> None:
        self._children: list[ChildProcess] = []

    def __enter__(self) -> Self:
        return self

    def start(self, work: Callable[..., None], *arguments: Any) -> ChildProcess:
        """Start a process; arguments as in `ChildProcess`."""
        child = ChildProcess(work, *arguments)
        self._children.append(child)
        return child

    @staticmethod
    def ready(children: Iterable[ChildProcess]) -> list[ChildProcess]:
        """Wait until at least one of the processes has sent a message or ended, and return all that have."""
        by_connection: dict[Any, ChildProcess] = {child.connection: child for child in children}
        return [by_connection[connection] for connection in wait(list(by_connection))]

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.connection.close()
        processes = [child.process for child in self._children]
        for process in processes:
            process.join(GRACE_SECONDS)
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.kill()


def _run(work: Callable[..., None], connection: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(ParentProcess(connection), *arguments)

"""A log file that remains readable if the process is killed at any moment."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

try:
    import fcntl
except ImportError:  # not a POSIX system, where two runs that write to one folder are not detected
    fcntl = None  # type: ignore[assignment]


class Log:
    """An append-only file of JSON lines, each added in one write; incomplete lines are skipped.

    Args:
        path: path of the file; it is created with its folders if it is missing.
        durable: if True, wait after each line until it is on the disk, so that it survives a power failure.

    Raises:
        OSError: If it cannot be written.
        BlockingIOError: If another process has it open.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.durable = path, durable
        self._file = path.open("ab", buffering=0)
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        self._torn = bool(content := path.read_bytes()[-1:]) and content != b"\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return read_records(self.path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: If it cannot be written, for example because the disk is full; a part already written is ignored.
        """
        line = ("\n" if self._torn else "") + json.dumps(record) + "\n"
        self._torn = True
        content = line.encode()
        if self._file.write(content) != len(content):
            msg = "No space left on device"
            raise OSError(errno.ENOSPC, msg, str(self.path))
        if self.durable:
            os.fsync(self._file.fileno())
        self._torn = False

    def clear(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the valid records of a log; none if the file does not exist."""
    try:
        lines = path.open("rb")
    except OSError:
        return
    with lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # incomplete, or from another program
                continue
            if isinstance(record, dict):
                yield record


def changed_settings(known: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the names of the settings that differ from those in a log, separated by commas."""
    missing = object()
    names = {**settings, **known}
    return ", ".join(name for name in names if known.get(name, missing) != settings.get(name, missing))

"""A file of lines that survives being killed at any moment."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs into one folder are not noticed there
    fcntl = None  # type: ignore[assignment]


class Log:
    """A file of JSON lines that are only ever appended, each in one write; what a kill left of a line is passed over.

    Args:
        path: created with its folders where it is missing.

    Raises:
        OSError: it cannot be written.
        BlockingIOError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
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
            OSError: it cannot be written, for example because the disk is full; whatever was written of it is ignored.
        """
        line = ("\n" if self._torn else "") + json.dumps(record) + "\n"
        self._torn = True
        content = line.encode()
        if self._file.write(content) != len(content):
            msg = "No space left on device"
            raise OSError(errno.ENOSPC, msg, str(self.path))
        self._torn = False

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a log that are whole and ours; none of a file that is not there."""
    try:
        lines = path.open("rb")
    except OSError:
        return
    with lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:  # torn, or not ours
                continue
            if isinstance(record, dict):
                yield record

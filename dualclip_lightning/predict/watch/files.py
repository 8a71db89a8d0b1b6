"""Appended lines and moved files, in steps that can be repeated after a kill at any moment."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from dualclip_lightning.predict.output.journal import Stamp, file_stamp


def plan_line(path: Path, header: str, line: str) -> tuple[int, str]:
    """Return the place at which a line goes, and its text with what has to stand before it.

    That is the header in an empty or missing file, and a line break after a last line that has none.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            last = file.read(1)
    except FileNotFoundError:
        return 0, header + line
    if not size:
        return 0, header + line
    return size, line if last == b"\n" else f"\n{line}"


def complete_line(path: Path, place: int, text: str) -> None:
    """Append a planned line, or the part of it that is missing.

    Nothing is removed: if another program has written at that place, the line goes to the end, unless it is there.

    Raises:
        OSError: If it cannot be written.
    """
    content = text.encode()
    try:
        with path.open("rb") as file:
            file.seek(place)
            there = file.read()
    except FileNotFoundError:
        there = b""
    if content.startswith(there):
        append_durably(path, content[len(there) :])
    elif content not in there:
        append_durably(path, (b"" if there.endswith(b"\n") else b"\n") + content)


def append_durably(path: Path, content: bytes) -> None:
    """Append to a file in one write, and wait until it is on the disk.

    Raises:
        OSError: If it cannot be written, for example because the disk is full.
    """
    if not content:
        return
    with path.open("ab", buffering=0) as file:
        if file.write(content) != len(content):
            msg = "No space left on device"
            raise OSError(errno.ENOSPC, msg, str(path))
        os.fsync(file.fileno())


def free_path(wanted: Path) -> Path:
    """Return the path, with a number before its suffix if there is such a file already."""
    path, number = wanted, 1
    while os.path.lexists(path):
        number += 1
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
    return path


def move_durably(source: Path, target: Path, stamp: Stamp) -> None:
    """Move a file in this state to a place that was free; nothing happens if it has been moved already or is gone.

    Raises:
        FileExistsError: If another file has taken the place meanwhile.
        OSError: If it cannot be moved, for example because source and target are on different file systems.
    """
    if file_stamp(source) != stamp:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        msg = "another file has this name by now"
        raise FileExistsError(errno.EEXIST, msg, str(target))
    source.rename(target)
    for folder in {source.parent, target.parent}:
        _sync(folder)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every file system can wait for a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

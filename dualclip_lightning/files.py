"""Files that are either whole or not there."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4


def cannot_write(error: OSError, where: Path) -> str:
    """The sentence for a file or folder that refuses to be written.

    Args:
        error: what came of it.
        where: what was to be written, if the error does not say.
    """
    return f"Cannot write '{error.filename or where}' ({error.strerror or error})."


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder and rename it: a reader or a crash never meets half of it.

    Raises:
        OSError: the folder or file cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

"""Digests of files, and files that are written completely or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from uuid import uuid4


def files_digest(files: Mapping[str, Path]) -> str:
    """Return the SHA-256 of the names and contents of files, regardless of their order and location."""
    sha = hashlib.sha256()
    for name in sorted(files):
        state = files[name].stat()
        sha.update(f"{name}:{_file_digest(files[name], state.st_mtime_ns, state.st_size)}\n".encode())
    return sha.hexdigest()


@cache
def _file_digest(path: Path, modified: int, size: int) -> str:
    """Return the digest of a file, which is read once per process and again if the file changes."""
    del modified, size
    return file_digest(path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, which is read in parts."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def cannot_write(error: OSError, where: Path) -> str:
    """Return the message for a file or folder that cannot be written.

    Args:
        error: error of the attempt.
        where: path of the file or folder, if the error does not contain it.
    """
    return f"Cannot write '{error.filename or where}' ({error.strerror or error})."


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder and rename it, so that it is never incomplete.

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


def check_free(path: Path, *, overwrite: bool) -> None:
    """Check that a file may be written.

    Raises:
        FileExistsError: there is a folder, or a file that must not be overwritten; the message says what to do.
    """
    if path.is_dir():
        msg = f"Expected the name of a file, but '{path}' is a folder."
        raise FileExistsError(msg)
    if path.exists() and not overwrite:
        msg = f"There is a file '{path}' already. Set overwrite=True (--overwrite) to replace it, or use another name."
        raise FileExistsError(msg)

"""List files: one path per line, in UTF-8 or the encoding of the byte-order mark."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

LIST_SUFFIXES = frozenset({".txt", ".lst"})
ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",  # before UTF-16, whose mark is a prefix
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig",
}  # fmt: skip
"""Encodings by byte-order mark. PowerShell's > writes UTF-16."""


def read_list(path: Path) -> Iterator[Path]:
    """Yield the paths of a list file, which are relative to it; lines that are empty or start with # are ignored.

    Raises:
        ValueError: the encoding cannot be determined, or the content does not match it.
    """
    yield from paths_of(path.read_bytes(), f"The list '{path}'", path.parent)


def paths_of(content: bytes, name: str, home: Path) -> Iterator[Path]:
    """Yield the paths of a list that was read, relative to `home`; `name` begins the message about a wrong encoding.

    Raises:
        ValueError: same as in `read_list`.
    """
    for line in _decode(content, name).split("\n"):
        path = line.rstrip("\r")
        if path and not path.startswith("#"):
            yield home / expand_user(path)


def expand_user(name: str | Path) -> Path:
    """Return a path with ~ replaced by the home folder, if that exists."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such user
        return Path(name)


def _decode(content: bytes, name: str) -> str:
    encoding = next((found for mark, found in ENCODINGS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content:
        msg = f"{name} has zero bytes and no byte-order mark. Save it as UTF-8."
        raise ValueError(msg)
    try:  # file names need not be UTF-8 on every system
        return content.decode("utf-8", "surrogateescape") if encoding is None else content.decode(encoding)
    except UnicodeDecodeError as error:
        msg = f"{name} begins as {encoding} and does not go on so. Save it as UTF-8."
        raise ValueError(msg) from error

"""Which image files a user means: files, folders, patterns and lists, in an order that is always the same."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dualclip_lightning.images.pillow import known_formats
from dualclip_lightning.record import is_inside_run, read_record

LIST_SUFFIXES = frozenset({".txt", ".lst"})
PATTERN_SIGNS = frozenset("*?[")


class Listing(NamedTuple):
    """What was found."""

    paths: list[Path]
    """Each once."""
    unreadable: dict[str, str]
    """Folders that could not be read, with the reason."""
    others: int
    """Files in folders that are not named as images are."""


def find_images(targets: Sequence[str | Path], exclude: Sequence[str] = ()) -> Listing:
    """Find the images of files, folders (with everything below), patterns with * ? [ ] or **, and list files.

    A list file (.txt, .lst) has a path a line, relative to itself; lines that are empty or start with # do not count.
    A file that is named itself is taken whatever its suffix; in a folder the suffix decides, and what starts with a
    dot is left out, and so are the results of runs, which must not become images: a run's folder is known by its
    `run.json`. Links to folders are not followed.

    Args:
        targets: what the user named; the order of targets is kept, a folder is sorted by path.
        exclude: patterns of file names or paths to leave out, for example "*_label.png".

    Raises:
        FileNotFoundError: a target that does not exist, or nothing found.
    """
    found: dict[str, Path] = {}  # by absolute path, so that an image named twice is not its own reference
    unreadable: dict[str, str] = {}
    others = 0
    for target in targets:
        for path in _expand(str(target)):
            if path.is_dir():
                inside = _walk(path, unreadable)
                images = [p for p in inside if p.suffix.lower() in _image_suffixes()]
                others += len(inside) - len(images)
            else:
                images = [path]
            for image in images:
                found.setdefault(os.path.abspath(image), image)  # noqa: PTH100 - links stay as named
    kept = [path for path in found.values() if not _matches(path, exclude)]
    if not kept and not unreadable:
        msg = f"No image in {', '.join(map(repr, map(str, targets)))}. Expected a file, a folder, a pattern or a list."
        raise FileNotFoundError(msg)
    return Listing(kept, unreadable, others)


def _expand(target: str) -> Iterator[Path]:
    """Files and folders of one target."""
    path = expand_user(target)
    if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        yield from _read_list(path)
    elif os.path.lexists(path):
        yield path
    elif PATTERN_SIGNS & set(target):
        names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute too
        yield from (found for found in map(Path, names) if not is_inside_run(found))
    else:
        msg = f"There is no '{target}'. Expected a file, a folder, a pattern such as 'shots/**/*.png' or a list (.txt)."
        raise FileNotFoundError(msg)


def _read_list(path: Path) -> Iterator[Path]:
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    for line in text.split("\n"):
        name = line.rstrip("\r")
        if name and not name.startswith("#"):
            yield path.parent / expand_user(name)


def expand_user(name: str | Path) -> Path:
    """A path with ~ replaced by a home folder, where there is one of that name."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such user
        return Path(name)


def _walk(folder: Path, unreadable: dict[str, str]) -> list[Path]:
    """All files below a folder, sorted; what cannot be listed is noted."""

    def note(error: OSError) -> None:
        unreadable[str(error.filename)] = f"the folder cannot be read ({error.strerror})."

    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=note):
        here = Path(parent)
        folders[:] = [name for name in _visible(folders) if read_record(here / name) is None]
        files += [here / name for name in _visible(names)]
    return sorted(files)


def _visible(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith("."))


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name, pattern) or fnmatch(str(path), pattern) for pattern in patterns)


@lru_cache(maxsize=1)
def _image_suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known_formats())

"""Which image files a user means: files, folders, patterns and lists, in an order that is always the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from dualclip_lightning.images.finding.lists import LIST_SUFFIXES, expand_user, paths_of, read_list
from dualclip_lightning.images.finding.patterns import SIGNS, expand_pattern
from dualclip_lightning.images.finding.walking import Walk
from dualclip_lightning.images.reading.pillow import known_formats

STANDARD_INPUT = "-"
"""As a target, where a command reads a list from there."""


class Listing(NamedTuple):
    """What was found."""

    paths: list[Path]
    """Each once."""
    unreadable: dict[str, str]
    """Folders that could not be read, with the reason."""
    others: int
    """Files in folders that are not named as images are."""
    results: tuple[str, ...] = ()
    """Folders and files that earlier runs have written, which were left out."""

    @property
    def left_out(self) -> str | None:
        """A sentence for the results that were left out; None where there are none."""
        return _left_out(self.results)


def find_images(
    targets: Sequence[str | Path], exclude: Sequence[str] = (), standard_input: BinaryIO | None = None
) -> Listing:
    """Find the images of files, folders (with everything below), patterns with * ? [ ] or **, and list files.

    A list file (.txt, .lst) has a path a line, relative to itself; lines that are empty or start with # do not count.
    A file that is named itself is taken whatever its suffix. In a folder the suffix decides; links to folders are
    followed, each folder once; what starts with a dot is left out, and so is what runs of this package have written,
    which must not become images: such a folder is known by its `run.json` or `.dualclip.json`.

    Args:
        targets: what the user named; the order of targets is kept, a folder is sorted by path.
        exclude: patterns of file names or paths to leave out, for example "*_label.png".
        standard_input: read as a list, relative to the working directory, where a target is "-".

    Raises:
        FileNotFoundError: a target that does not exist, or nothing found.
        ValueError: a list file whose encoding cannot be told.
    """
    found: dict[str, Path] = {}  # by absolute path, so that an image named twice is not its own reference
    walk = Walk()
    others = 0
    for target in targets:
        for path in _expand(str(target), walk, standard_input):
            inside = walk.files(path) if path.is_dir() else [path]
            images = list(filter(is_image_name, inside)) if path.is_dir() else inside
            others += len(inside) - len(images)
            for image in images:
                found.setdefault(os.path.abspath(image), image)  # noqa: PTH100 - links stay as named
    kept = [path for path in found.values() if not _matches(path, exclude)]
    if not kept and not walk.unreadable:
        msg = (
            f"No image in {', '.join(map(repr, map(str, targets)))}. Expected a file, a folder, a pattern or a list. "
            f"{_left_out(walk.results) or ''}"
        )
        raise FileNotFoundError(msg.rstrip())
    return Listing(kept, walk.unreadable, others, tuple(walk.results))


def check_there(paths: Sequence[Path], targets: Sequence[str | Path], *, every: bool = False) -> None:
    """Refuse a list that names only files that are not there.

    Args:
        paths: what `find_images` found.
        targets: what the user named.
        every: refuse also where some of them are missing.

    Raises:
        FileNotFoundError: with the first that is missing.
    """
    missing = [path for path in paths if not os.path.lexists(path)]
    if missing and (every or len(missing) == len(paths)):
        named = ", ".join("standard input" if target == STANDARD_INPUT else f"'{target}'" for target in targets)
        msg = (
            f"There is no '{missing[0]}', which {named} names ({len(missing)} of {len(paths)} missing). Paths in a "
            "list are relative to the list, on standard input to the working directory."
        )
        raise FileNotFoundError(msg)


def is_image_name(path: Path) -> bool:
    """Return whether a file is named as images are that can be read."""
    return path.suffix.lower() in _image_suffixes()


def _expand(target: str, walk: Walk, standard_input: BinaryIO | None) -> Iterator[Path]:
    """Files and folders of one target."""
    path = expand_user(target)
    if target == STANDARD_INPUT and standard_input is not None:
        yield from paths_of(standard_input.read(), "The list on standard input", Path())
    elif path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        yield from read_list(path)
    elif os.path.lexists(path):
        yield path
    elif SIGNS & set(target):
        yield from expand_pattern(path, walk, is_image_name)
    else:
        msg = f"There is no '{target}'. Expected a file, a folder, a pattern such as 'shots/**/*.png' or a list (.txt)."
        raise FileNotFoundError(msg)


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name, pattern) or fnmatch(str(path), pattern) for pattern in patterns)


def _left_out(results: Sequence[str] | dict[str, None]) -> str | None:
    folders = [f"'{folder}'" for folder in results]
    if not folders:
        return None
    return f"Left out as results of earlier runs: {', '.join(folders)}. Name a file itself to have it scored."


@lru_cache(maxsize=1)
def _image_suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known_formats())

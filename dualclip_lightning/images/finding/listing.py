"""Search for the image files that a user names by files, folders, patterns and lists, in a reproducible order."""

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
"""Target that stands for a list on standard input."""


class Listing(NamedTuple):
    """Result of a search for images."""

    paths: list[Path]
    """The images, each once."""
    unreadable: dict[str, str]
    """Folders that could not be read, with the reason."""
    others: int
    """Number of files in folders whose suffix is not that of an image."""
    results: tuple[str, ...] = ()
    """Folders and files written by earlier runs, which were left out."""

    @property
    def left_out(self) -> str | None:
        """Sentence about the results that were left out; None if there are none."""
        return _left_out(self.results)


def find_images(
    targets: Sequence[str | Path], exclude: Sequence[str] = (), standard_input: BinaryIO | None = None
) -> Listing:
    """Find the images in files, folders (with subfolders), patterns with * ? [ ] or **, and list files.

    A list file (.txt, .lst) contains one path per line, relative to the list; lines that are empty or start with # are
    ignored. A file that is named explicitly is taken whatever its suffix. In a folder, the suffix decides; links to
    folders are followed, and each folder is visited once. Names that start with a dot are left out, and so are the
    results of earlier runs of this package, which are recognised by a `run.json` or `.dualclip.json`.

    Args:
        targets: files, folders, patterns and lists; their order is kept, and a folder is sorted by path.
        exclude: patterns of file names or paths to leave out, for example "*_label.png".
        standard_input: stream that is read as a list, relative to the working directory, if a target is "-".

    Raises:
        FileNotFoundError: a target does not exist, or nothing was found.
        ValueError: the encoding of a list file cannot be determined.
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
    kept = [path for path in found.values() if not matches(path, exclude)]
    if not kept and not walk.unreadable:
        msg = (
            f"No image in {', '.join(map(repr, map(str, targets)))}. Expected a file, a folder, a pattern or a list. "
            f"{_left_out(walk.results) or ''}"
        )
        raise FileNotFoundError(msg.rstrip())
    return Listing(kept, walk.unreadable, others, tuple(walk.results))


def check_there(paths: Sequence[Path], targets: Sequence[str | Path], *, every: bool = False) -> None:
    """Check that the files of a list exist, or at least one of them.

    Args:
        paths: paths that `find_images` returned.
        targets: targets that the user named.
        every: whether all files must exist.

    Raises:
        FileNotFoundError: files are missing; the message names the first.
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
    """Return whether a file has the suffix of a readable image format."""
    return path.suffix.lower() in _image_suffixes()


def _expand(target: str, walk: Walk, standard_input: BinaryIO | None) -> Iterator[Path]:
    """Yield the files and folders of one target."""
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


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether the name or the whole path of a file matches one of the patterns."""
    return any(fnmatch(path.name, pattern) or fnmatch(str(path), pattern) for pattern in patterns)


def _left_out(results: Sequence[str] | dict[str, None]) -> str | None:
    folders = [f"'{folder}'" for folder in results]
    if not folders:
        return None
    return f"Left out as results of earlier runs: {', '.join(folders)}. Name a file itself to have it scored."


@lru_cache(maxsize=1)
def _image_suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known_formats())

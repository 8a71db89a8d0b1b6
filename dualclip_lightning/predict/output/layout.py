"""Where the results of each image lie."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

SUFFIXES = {"heatmaps": ".png", "maps": ".npy", "masks": ".png"}
"""Folder of each kind, and the suffix that files have there."""
LONGEST_NAME = 180
"""Bytes of a file name, to which suffixes are added; file systems allow 255."""


class Layout:
    """Where the results of each image lie below the output folder: as the images lie below their common folder.

    A result has the image's name with another suffix. Where images of one folder differ in nothing but their suffix, or
    in upper and lower case, it becomes part of the name: `a_png.png` and `a_jpg.png`.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        names = list(names)
        parents = {str(Path(os.path.abspath(name)).parent) for name in names}  # noqa: PTH100 - links stay as named
        self.root = os.path.commonpath(parents) if parents else os.curdir
        self._shared = _tell_apart([self.relative(name) for name in names])

    def relative(self, name: str) -> Path:
        """An image's path below the images' common folder, with .. where it lies elsewhere."""
        return Path(os.path.relpath(os.path.abspath(name), self.root))  # noqa: PTH100

    def path(self, kind: str, name: str, suffix: str) -> Path:
        """The file of a kind ("heatmaps", "maps", "masks") for an image."""
        relative = self.relative(name)
        stem = self._shared.get(relative, relative.stem)
        return self.folder / kind / relative.parent / f"{_short(stem)}{suffix}"


def _tell_apart(places: Sequence[Path]) -> dict[Path, str]:
    """Names without suffix for those of some paths that would share one with another path."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for place in dict.fromkeys(places):
        groups[place.parent, place.stem.casefold()].append(place)
    shared = {}
    for place in [place for group in groups.values() if len(group) > 1 for place in sorted(group)]:
        stem = f"{place.stem}_{place.suffix[1:]}"
        if (place.parent, stem.casefold()) in groups:  # that of an image, or of another one here
            stem += f"-{sha256(os.fsencode(place.name)).hexdigest()[:16]}"
        groups[place.parent, stem.casefold()] = [place]
        shared[place] = stem
    return shared


def _short(name: str) -> str:
    """A file name that leaves room for suffixes, still different from others."""
    content = os.fsencode(name)
    if len(content) <= LONGEST_NAME:
        return name
    head = content[: LONGEST_NAME - 20].decode("utf-8", "ignore")
    return f"{head}-{sha256(content).hexdigest()[:16]}"

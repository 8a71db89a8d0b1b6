"""Locations of the results of each image."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from dualclip_lightning.predict.limits import HEATMAP_FORMATS

SUFFIXES = {"maps": ".npy", "masks": ".png"}
"""Folder of each kind, and the suffix that files have there, except for heatmaps."""
HEATMAP_SUFFIXES = dict(zip(HEATMAP_FORMATS, (".jpg", ".png"), strict=True))
LONGEST_NAME = 180
"""Maximum length of a file name in bytes, without added suffixes; file systems allow 255."""


class Layout:
    """Locations of the results below the output folder, which mirror the images' locations in their common folder.

    A result has the image's name with another suffix. If images of one folder differ only in their suffix, or in upper
    and lower case, the suffix becomes part of the name: `a_png.jpg` and `a_jpg.jpg`.

    Args:
        folder: folder of the results.
        names: paths of the images.
        heatmap_format: format of heatmaps, which determines their suffix.
    """

    def __init__(self, folder: Path, names: Iterable[str], heatmap_format: str = HEATMAP_FORMATS[0]) -> None:
        self.folder = folder
        self._suffixes = {"heatmaps": HEATMAP_SUFFIXES[heatmap_format], **SUFFIXES}
        names = list(names)
        parents = {str(Path(os.path.abspath(name)).parent) for name in names}  # noqa: PTH100 - links stay as named
        self.root = os.path.commonpath(parents) if parents else os.curdir
        self._shared = _tell_apart([self.relative(name) for name in names])

    def relative(self, name: str) -> Path:
        """Return an image's path relative to the images' common folder, with .. if it lies elsewhere."""
        return Path(os.path.relpath(os.path.abspath(name), self.root))  # noqa: PTH100

    def path(self, kind: str, name: str) -> Path:
        """Return the path of an image's file of a kind ("heatmaps", "maps", "masks")."""
        relative = self.relative(name)
        stem = self._shared.get(relative, relative.stem)
        return self.folder / kind / relative.parent / f"{shortened(stem)}{self._suffixes[kind]}"


def _tell_apart(places: Sequence[Path]) -> dict[Path, str]:
    """Return distinct names without suffix for those paths that would otherwise share a name."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for place in dict.fromkeys(places):
        groups[place.parent, place.stem.casefold()].append(place)
    shared = {}
    for place in [place for group in groups.values() if len(group) > 1 for place in sorted(group)]:
        stem = f"{place.stem}_{place.suffix[1:]}"
        if (place.parent, stem.casefold()) in groups:  # already the name of another image
            stem += f"-{sha256(os.fsencode(place.name)).hexdigest()[:16]}"
        groups[place.parent, stem.casefold()] = [place]
        shared[place] = stem
    return shared


def shortened(name: str) -> str:
    """Return a file name that leaves room for suffixes and is still unique."""
    content = os.fsencode(name)
    if len(content) <= LONGEST_NAME:
        return name
    head = content[: LONGEST_NAME - 20].decode("utf-8", "ignore")
    return f"{head}-{sha256(content).hexdigest()[:16]}"

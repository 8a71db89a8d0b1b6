"""Patterns with * ? [ ] and **; ** follows each link to a folder once."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from dualclip_lightning.images.finding.walking import Walk

SIGNS = frozenset("*?[")


def expand_pattern(pattern: Path, walk: Walk, is_image: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the files and folders that match a pattern, sorted; results of earlier runs are left out.

    A pattern with ** yields only files: those that match, and the images in folders that match.
    """
    parts = pattern.parts
    if "**" not in parts:
        names = sorted(glob.glob(str(pattern)))  # noqa: PTH207 - works for absolute patterns
        yield from (path for path in map(Path, names) if path.is_dir() or not walk.is_result(path))
        return
    start = parts.index("**")
    # glob's own ** follows loops of links until the system stops it, and doubles the number of names each time.
    for folder in sorted(glob.glob(str(Path(*parts[:start])))) if start else ["."]:  # noqa: PTH207
        for path in walk.files(Path(folder)):
            below = path.relative_to(folder).parts
            in_folder = any(_fits(below[:end], parts[start:]) for end in range(1, len(below)))
            if _fits(below, parts[start:]) or (in_folder and is_image(path)):
                yield path


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a path match those of a pattern; ** matches any number of parts."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        return any(_fits(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatch(names[0], pattern[0]) and _fits(names[1:], pattern[1:])

"""What a file of weights is known to be, by its content or by the name that its publisher gave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dualclip_lightning.weights.fetching import file_digest
from dualclip_lightning.weights.sources import WeightsSource, entries


@dataclass(frozen=True)
class Known:
    """A tag of open_clip's table whose published file a file is, or is called like."""

    backbone: str
    tag: str
    certain: bool
    """Whether the content is the published one; else only the name is."""


def recognise(path: Path) -> Known | None:
    """The tag whose published file has the SHA-256 of this one, else the one whose file has its name, else None."""
    digest, named = file_digest(path), None
    for backbone, tag, source in _published():
        if source.digest and digest.startswith(source.digest):
            return Known(backbone, tag, certain=True)
        if source.file_name == path.name:
            named = named or Known(backbone, tag, certain=False)
    return named


def _published() -> Iterator[tuple[str, str, WeightsSource]]:
    for entry in entries():
        if entry.url:
            yield entry.backbone, entry.tag, WeightsSource(url=entry.url)

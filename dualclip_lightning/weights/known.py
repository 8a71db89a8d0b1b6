"""Identification of a file of weights by its content or by its published name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dualclip_lightning.utilities.files import file_digest
from dualclip_lightning.weights.sources import WeightsSource, entries


@dataclass(frozen=True)
class Known:
    """A tag of open_clip's table whose published file has the same content or name."""

    backbone: str
    tag: str
    certain: bool
    """True if the content matches; otherwise only the name does."""


def recognise(path: Path) -> Known | None:
    """Return the tag whose published file has the same SHA-256, or else the same name, or None."""
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

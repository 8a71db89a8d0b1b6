"""Photographs included in the package; LICENSES.md next to this file lists their sources."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent
MATERIALS = tuple(sorted(path.name for path in (ASSETS / "materials").iterdir()))
REAL = ("pcb", "spindle")
"""Categories with real defects; those of materials are drawn."""
CATEGORIES = (*MATERIALS, *REAL)
"""Categories of the demo data."""


def photographs(material: str) -> list[Path]:
    """Return the photographs of one material of the demo data, sorted by name."""
    return sorted((ASSETS / "materials" / material).glob("*.jpg"))


def texture_paths() -> list[Path]:
    """Return the photographs of other materials, the textures of pseudo anomalies, sorted by name."""
    return sorted((ASSETS / "textures").glob("*.jpg"))

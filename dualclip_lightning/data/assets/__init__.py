"""Photographs that the package carries; LICENSES.md beside this file says where they come from."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent
MATERIALS = tuple(sorted(path.name for path in (ASSETS / "materials").iterdir()))
REAL = ("pcb", "spindle")
"""Categories whose defects are real; those of materials are drawn."""
CATEGORIES = (*MATERIALS, *REAL)
"""Of the demo data."""


def photographs(material: str) -> list[Path]:
    """Photographs of one material of the demo data, sorted by name."""
    return sorted((ASSETS / "materials" / material).glob("*.jpg"))


def texture_paths() -> list[Path]:
    """Photographs of other materials, from which pseudo anomalies take their texture; sorted by name."""
    return sorted((ASSETS / "textures").glob("*.jpg"))

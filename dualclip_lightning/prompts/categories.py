"""What people call the categories of the public data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "pcb": "printed circuit board",
    "pcb1": "printed circuit board",
    "pcb2": "printed circuit board",
    "pcb3": "printed circuit board",
    "pcb4": "printed circuit board",
    "macaroni1": "macaroni",
    "macaroni2": "macaroni",
    "pipe_fryum": "pipe fryum",
    "chewinggum": "chewing gum",
}
"""Categories whose name is not what a caption would say; for all others underscores become spaces."""

TEXTURES = frozenset({
    "carpet", "grid", "leather", "tile", "wood",
    "bamboo", "bark", "brick", "bricks", "cardboard", "chipboard", "concrete", "cork", "fabric", "granite", "marble",
    "paper", "plaster", "rubber", "rust", "stone", "tatami", "terrazzo", "tiles", "travertine", "wallpaper",
})  # fmt: skip
"""Classes described as surfaces: the five textures of MVTec AD, then common materials."""


def class_words(category: str) -> str:
    """The words for a category: `metal_nut` -> "metal nut", `pcb1` -> "printed circuit board".

    Raises:
        ValueError: no letter or digit in it.
    """
    words = WORDS.get(category.strip().lower(), re.sub(r"[_\s]+", " ", category).strip())
    if not re.search(r"\w", words):
        msg = f"Expected a class name with at least one letter, but got {category!r}. Set class_name, e.g. 'screw'."
        raise ValueError(msg)
    return words.replace("{", "").replace("}", "")


def is_texture(category: str) -> bool:
    """Whether a category is described as a surface; anything unknown is an object."""
    return category.strip().lower() in TEXTURES

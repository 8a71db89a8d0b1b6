"""Names of the categories of public data sets in prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from dualclip_lightning.utilities.arguments import check_choice, check_text

Words = Literal["plain", "released"]
AS_THEY_STAND: Mapping[str, str] = MappingProxyType({})
"""Renamed categories of released code that renames none."""

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
"""Natural names of categories; in all others, underscores become spaces."""

TEXTURES = frozenset({
    "carpet", "grid", "leather", "tile", "wood",
    "bamboo", "bark", "brick", "bricks", "cardboard", "chipboard", "concrete", "cork", "fabric", "granite", "marble",
    "paper", "plaster", "rubber", "rust", "stone", "tatami", "terrazzo", "tiles", "travertine", "wallpaper",
})  # fmt: skip
"""Classes described as surfaces: the five textures of MVTec AD, then common materials."""


def class_words(category: str, words: Words = "plain", renamed: Mapping[str, str] = AS_THEY_STAND) -> str:
    """Return the name of a category in prompts. Class names given by a user are not categories and stay unchanged.

    Args:
        category: category of a data set, for example `metal_nut`.
        words: "plain" for the natural name: `metal_nut` -> "metal nut", `pcb1` -> "printed circuit board"; "released"
            for the name in the released code of a method, which is usually the category: `metal_nut` or `pcb1`.
        renamed: categories that the released code renames.

    Example:
        >>> from dualclip_lightning.prompts import class_words
        >>> class_words("metal_nut"), class_words("pcb1"), class_words("pcb1", "released")
        ('metal nut', 'printed circuit board', 'pcb1')
    """
    if words == "released":
        return renamed.get(category, category)
    return WORDS.get(category.strip().lower(), re.sub(r"[_\s]+", " ", category).strip())


def check_words(words: str) -> None:
    """Check the argument `words`.

    Raises:
        ValueError: the value is unknown; the message lists the choices.

    Example:
        >>> from dualclip_lightning.prompts import check_words
        >>> check_words("plain")
    """
    check_choice("words", words, get_args(Words))


def check_class_name(class_name: str) -> None:
    """Check that a class name contains a word.

    Raises:
        ValueError: the name is not a text, or has no letter or digit.
    """
    check_text("class_name", class_name, "steel plate")
    if not re.search(r"[^\W_]", class_name):
        msg = f"Expected a class name with at least one letter, but got {class_name!r}. Set class_name, e.g. 'screw'."
        raise ValueError(msg)


def is_texture(category: str) -> bool:
    """Return whether a category is described as a surface; unknown categories are objects.

    Example:
        >>> from dualclip_lightning.prompts import is_texture
        >>> is_texture("carpet"), is_texture("bottle")
        (True, False)
    """
    return category.strip().lower() in TEXTURES

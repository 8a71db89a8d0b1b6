"""Names of the categories of public data sets in prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from dualclip_lightning.utilities.arguments import check_choice, check_text

Words = Literal["plain", "released"]
AS_THEY_STAND: Mapping[str, str] = MappingProxyType({})
"""Renamed categories for released code that uses category names unchanged."""

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

DATA_WORDS: Mapping[str, Mapping[str, str]] = {
    "AutoVI": {"underbody_pipes": "car underbody pipes", "underbody_screw": "car underbody screw"},
    "BMAD": {
        "Brain": "brain MRI scan",
        "Chest": "chest X-ray",
        "Histopathology": "tissue section",
        "Liver": "liver CT scan",
        "Retina_OCT2017": "retinal OCT scan",
        "Retina_RESC": "retinal OCT scan",
    },
    # Its description says only "industrial products".
    "BTech": dict.fromkeys(("01", "02", "03"), "industrial product"),
    # Categories are the packaging of items; without one, all are tested together.
    "Kaputt": {
        "": "packaged item",
        "book_other": "book",
        "book_paper": "book in paper",
        "book_plastic_tight_wrap": "book in tight plastic wrap",
        "cardboard": "item in cardboard",
        "other": "packaged item",
        "paper": "item in paper",
        "plastic_bubble_wrap": "item in plastic bubble wrap",
        "plastic_hard": "item in hard plastic",
        "plastic_loose_bag": "item in a loose plastic bag",
        "plastic_tight_wrap": "item in tight plastic wrap",
    },
    "Kolektor": {"": "electrical commutator"},  # one product, no category
    "MPDD": {
        "bracket_black": "black bracket",
        "bracket_brown": "brown bracket",
        "bracket_white": "white bracket",
        "tubes": "metal tubes",
    },
    "MVTecAD2": {"can": "metal can", "wallplugs": "wall plugs"},
    "RealIAD": {
        "audiojack": "audio jack",
        "mint": "mint candy",
        "terminalblock": "terminal block",
        "toy": "toy",
        "transistor1": "transistor",
        "u_block": "U-shaped block",
        "usb": "USB connector",
        "usb_adaptor": "USB adaptor",
        "vcpill": "vitamin C pill",
        "woodstick": "wooden stick",
    },
    "VAD": {"vad": "piezo element"},  # with wires and solder dots, arXiv 2405.04953
}
"""Names of categories that are unclear without their data set, by anomalib's datamodule; "" means no category.

Our own choice where papers and released code do not give them.
"""

TEXTURES = frozenset({
    "carpet", "grid", "leather", "tile", "wood",
    "bamboo", "bark", "brick", "bricks", "cardboard", "chipboard", "concrete", "cork", "fabric", "granite", "marble",
    "paper", "plaster", "rubber", "rust", "stone", "tatami", "terrazzo", "tiles", "travertine", "wallpaper",
})  # fmt: skip
"""Classes described as surfaces: the five textures of MVTec AD, then common materials."""


def class_words(
    category: str, words: Words = "plain", renamed: Mapping[str, str] = AS_THEY_STAND, data: str = ""
) -> str:
    """Return the name of a category in prompts. Class names given by a user are not categories and stay unchanged.

    Args:
        category: category of a data set, for example `metal_nut`.
        words: "plain" for the natural name: `metal_nut` -> "metal nut", `pcb1` -> "printed circuit board"; "released"
            for the name in the released code of a method, which is usually the category: `metal_nut` or `pcb1`.
        renamed: categories that the released code renames.
        data: name of the datamodule's class, for categories such as BTech's "01".

    Example:
        >>> from dualclip_lightning.prompts import class_words
        >>> class_words("metal_nut"), class_words("pcb1"), class_words("pcb1", "released")
        ('metal nut', 'printed circuit board', 'pcb1')
        >>> class_words("vad", data="VAD")
        'piezo element'
    """
    if words == "released":
        return renamed.get(category, category)
    natural = WORDS.get(category.strip().lower(), re.sub(r"[_\s]+", " ", category).strip())
    return DATA_WORDS.get(data, {}).get(category, natural)


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

"""Check of categories before anything is read or downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def check_category(data: str, category: object, known: Sequence[str]) -> None:
    """Check that a data set has a category.

    Args:
        data: name of the data set at the beginning of a sentence.
        category: the requested category.
        known: all categories of the data set.

    Raises:
        ValueError: the category is unknown; the message names the closest one and lists all.
    """
    if category in known:
        return
    near = get_close_matches(str(category), known, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    msg = f"{data} has no category '{category}'. {hint}Expected one of {', '.join(known)}."
    raise ValueError(msg)

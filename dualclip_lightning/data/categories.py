"""Which categories a data set has, said before anything is read or downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def check_category(data: str, category: object, known: Sequence[str]) -> None:
    """Refuse a category that the data set does not have.

    Args:
        data: what the data set is called at the beginning of a sentence.
        category: asked for.
        known: all categories there are.

    Raises:
        ValueError: with the nearest, and all there are.
    """
    if category in known:
        return
    near = get_close_matches(str(category), known, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    msg = f"{data} has no category '{category}'. {hint}Expected one of {', '.join(known)}."
    raise ValueError(msg)

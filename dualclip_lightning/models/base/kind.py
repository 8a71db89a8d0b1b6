"""Kinds of methods by what a score depends on besides its image, which decides whether results are comparable."""

from __future__ import annotations

from enum import Flag, auto
from functools import reduce
from operator import or_


class Kind(Flag):
    """Kind of a method; one that depends on several things combines them with ``|``.

    Files and tables show its string form:

    Example:
        >>> str(Kind.FEW_SHOT), str(Kind.AUXILIARY | Kind.TRANSDUCTIVE)
        ('few-shot', 'auxiliary, transductive')
        >>> Kind.TRANSDUCTIVE in Kind.AUXILIARY | Kind.TRANSDUCTIVE
        True
    """

    INDUCTIVE = 0
    """The score depends on nothing else."""
    PAIR = auto()
    """The score depends on the image's few unlabelled references, among the test images or from a folder."""
    FEW_SHOT = auto()
    """The score depends on a few images that are known to be normal."""
    FULL_SHOT = auto()
    """The score depends on the normal training images of the category."""
    AUXILIARY = auto()
    """The score depends on labelled images of other data."""
    TRANSDUCTIVE = auto()
    """The score depends on the whole unlabelled test set."""

    def __str__(self) -> str:
        parts = [part for part in type(self) if part and part in self]
        return ", ".join(str(part.name).lower().replace("_", "-") for part in parts or [Kind.INDUCTIVE])


def parse_kind(text: str) -> Kind:
    """Return the kind that files and tables show as a text.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> parse_kind("auxiliary, transductive") == Kind.AUXILIARY | Kind.TRANSDUCTIVE
        True
    """
    known = {str(kind): kind for kind in [Kind.INDUCTIVE, *Kind]}
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if part not in known]
    if wrong:
        msg = f"Unknown kind {wrong[0]!r}. Expected some of {', '.join(known)}."
        raise ValueError(msg)
    return reduce(or_, (known[part] for part in parts))

"""What a score may depend on beside its image, by which results of different methods can be compared at all."""

from __future__ import annotations

from enum import Flag, auto


class Kind(Flag):
    """Kind of a method; one that depends on several things combines them with ``|``.

    Its text is what files and tables show:

    Example:
        >>> str(Kind.FEW_SHOT), str(Kind.AUXILIARY | Kind.TRANSDUCTIVE)
        ('few-shot', 'auxiliary, transductive')
        >>> Kind.TRANSDUCTIVE in Kind.AUXILIARY | Kind.TRANSDUCTIVE
        True
    """

    INDUCTIVE = 0
    """On nothing else."""
    PAIR = auto()
    """On its references among the unlabelled test images."""
    FEW_SHOT = auto()
    """On a few images that are known to be normal."""
    FULL_SHOT = auto()
    """On the normal training images of the category."""
    AUXILIARY = auto()
    """On labelled images of other data."""
    TRANSDUCTIVE = auto()
    """On the whole unlabelled test set."""

    def __str__(self) -> str:
        parts = [part for part in type(self) if part and part in self]
        return ", ".join(str(part.name).lower().replace("_", "-") for part in parts or [Kind.INDUCTIVE])

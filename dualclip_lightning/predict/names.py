"""Checks of the names of methods and of their arguments, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dualclip_lightning.registry import MODELS

ELSEWHERE = frozenset({
    "reference_dir", "resize", "words", "pre_processor", "post_processor", "evaluator", "visualizer",
    "auxiliary_categories", "epochs", "batch_size", "shuffle",
})  # fmt: skip
"""Arguments of methods that a detector handles itself, or that concern only data sets and training."""


def check_method(name: str) -> None:
    """Check that a method has this name.

    Raises:
        ValueError: If none has; the message suggests the nearest name.
    """
    if not isinstance(name, str) or name not in MODELS:
        msg = f"Unknown method {name!r}. {_nearest(str(name), MODELS)}"
        raise ValueError(msg)


def check_arguments(method: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that a method has these arguments and that they have a meaning for a detector.

    Raises:
        ValueError: If one does not; the message suggests the nearest name.
    """
    offered = [name for name in known if name not in ELSEWHERE]
    for name in given:
        if name not in offered:
            msg = f"{method} has no argument {name!r} here. {_nearest(name, offered)}"
            raise ValueError(msg)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the nearest name, or lists all names if none is near."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"Did you mean {by_lower[near[0]]!r}?" if near else f"There are {', '.join(by_lower.values())}."

"""Names of methods and of their arguments, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dualclip_lightning.registry import MODELS

ELSEWHERE = frozenset({
    "reference_dir", "resize", "words", "pre_processor", "post_processor", "evaluator", "visualizer",
    "auxiliary_categories", "epochs", "batch_size", "shuffle",
})  # fmt: skip
"""Arguments of methods that a detector has by itself, or that concern only data sets and training."""


def check_method(name: str) -> None:
    """Refuse a name that no method has.

    Raises:
        ValueError: with the nearest name.
    """
    if not isinstance(name, str) or name not in MODELS:
        msg = f"Unknown method {name!r}. {_nearest(str(name), MODELS)}"
        raise ValueError(msg)


def check_arguments(method: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse arguments that a method does not have, or that mean nothing to a detector.

    Raises:
        ValueError: with the nearest name.
    """
    offered = [name for name in known if name not in ELSEWHERE]
    for name in given:
        if name not in offered:
            msg = f"{method} has no argument {name!r} here. {_nearest(name, offered)}"
            raise ValueError(msg)


def _nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the name that may be meant, or else with all that there are."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"Did you mean {by_lower[near[0]]!r}?" if near else f"There are {', '.join(by_lower.values())}."

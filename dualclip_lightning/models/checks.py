"""Checks of arguments that every method has in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any


def check_whole(name: str, value: Any, least: int | None = None, remedy: str = "") -> None:
    """Refuse what is no whole number, or is below `least`; true and false are no numbers.

    Raises:
        ValueError: with the name, the value and the remedy.
    """
    if not _is_whole(value) or (least is not None and value < least):
        wanted = "a whole number" if least is None else f"a whole number of at least {least}"
        msg = f"Expected {name} to be {wanted}, but got {value!r}. {remedy}".rstrip()
        raise ValueError(msg)


def check_whole_list(name: str, values: Any, example: Sequence[int]) -> None:
    """Refuse what is no list of whole numbers; how large they may be is for others to check.

    Raises:
        ValueError: with the name, the value and an example.
    """
    if not isinstance(values, list | tuple) or not all(map(_is_whole, values)):
        msg = f"Expected {name} to be a list of whole numbers such as {list(example)}, but got {values!r}."
        raise ValueError(msg)


def check_blocks(name: str, numbers: Any) -> None:
    """Refuse what is neither None nor a list of whole numbers; the encoder knows which blocks its tower has.

    Raises:
        ValueError: as `check_whole_list`.
    """
    if numbers is not None:
        check_whole_list(name, numbers, (1, 2, 3))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_precision(name: str) -> None:
    """Refuse Lightning's true half (and double) precision: anomalib hands over images in single precision.

    Raises:
        ValueError: with what to set instead.
    """
    if name.endswith("-true") and name != "32-true":
        msg = f"Expected precision to be 32-true, 16-mixed or bf16-mixed, but got {name}. Set 16-mixed or bf16-mixed."
        raise ValueError(msg)

"""Common checks of the arguments of methods, adaptation and detectors; each error message names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any


def check_whole(name: str, value: Any, least: int | None = None, remedy: str = "") -> None:
    """Check that a value is an integer of at least `least`; booleans are refused.

    Raises:
        ValueError: it is not; the message contains the name, the value and the remedy.
    """
    if not _is_whole(value) or (least is not None and value < least):
        wanted = "a whole number" if least is None else f"a whole number of at least {least}"
        msg = f"Expected {name} to be {wanted}, but got {value!r}. {remedy}".rstrip()
        raise ValueError(msg)


def check_text(name: str, value: Any, example: str) -> None:
    """Check that a value is a string.

    Raises:
        ValueError: it is not; the message contains the name, the value and an example.
    """
    if not isinstance(value, str):
        msg = f"Expected {name} to be a text such as {example!r}, but got {value!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that a value is one of several choices.

    Raises:
        ValueError: it is not; the message contains the name, the choices and the value.
    """
    if not (isinstance(value, str) and value in choices):
        *others, last = map(repr, choices)
        msg = f"Expected {name} to be {', '.join(others)} or {last}, but got {value!r}."
        raise ValueError(msg)


def check_switches(**values: Any) -> None:
    """Check that values are booleans; a string such as "false" would count as true.

    Raises:
        ValueError: one is not; the message contains the name and the value.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            msg = f"Expected {name} to be True or False, but got {value!r}."
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def check_text_list(name: str, values: Any, example: Sequence[str]) -> None:
    """Check that a value is a list of strings; a single string would be split into its letters.

    Raises:
        ValueError: it is not; the message contains the name, the value and an example.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        msg = f"Expected {name} to be a list of texts such as {list(example)}, but got {values!r}."
        raise ValueError(msg)


def check_path(name: str, value: Any) -> None:
    """Check that a value is None or a path.

    Raises:
        ValueError: it is not; the message contains the name and the value.
    """
    if not isinstance(value, str | PathLike | None):
        msg = f"Expected {name} to be the path of a folder, but got {value!r}."
        raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def check_size(name: str, value: Any) -> None:
    """Check that a value is one side, or height and width, as integers.

    Raises:
        ValueError: it is not; the message contains the name and the value.
    """
    sides = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(sides) != len(("height", "width")) or not all(_is_whole(side) and side > 0 for side in sides):
        msg = f"Expected {name} to be a side or a height and width in pixels, such as 240, but got {value!r}."
        raise ValueError(msg)


def check_whole_list(name: str, values: Any, example: Sequence[int]) -> None:
    """Check that a value is a list of integers; their range is not checked.

    Raises:
        ValueError: it is not; the message contains the name, the value and an example.
    """
    if not isinstance(values, list | tuple) or not all(map(_is_whole, values)):
        msg = f"Expected {name} to be a list of whole numbers such as {list(example)}, but got {values!r}."
        raise ValueError(msg)


def check_positive(name: str, value: Any, remedy: str = "") -> None:
    """Check that a value is a finite number above 0.

    Raises:
        ValueError: it is not; the message contains the name, the value and the remedy.
    """
    if not (is_number(value) and value > 0):
        msg = f"Expected {name} to be a number above 0, but got {value!r}. {remedy}".rstrip()
        raise ValueError(msg)


def check_from_zero(name: str, value: Any, remedy: str = "") -> None:
    """Check that a value is a finite number of at least 0.

    Raises:
        ValueError: it is not; the message contains the name, the value and the remedy.
    """
    if not (is_number(value) and value >= 0):
        msg = f"Expected {name} to be at least 0 and finite, but got {value!r}. {remedy}".rstrip()
        raise ValueError(msg)


def check_share(name: str, value: Any) -> None:
    """Check that a value is a number from 0 to 1.

    Raises:
        ValueError: it is not; the message contains the name and the value.
    """
    if not (is_number(value) and 0 <= value <= 1):
        msg = f"Expected {name} to be in [0, 1], but got {value!r}."
        raise ValueError(msg)


def check_temperature(temperature: Any) -> None:
    """Check that a softmax can have this temperature.

    Raises:
        ValueError: same as in `check_positive`.
    """
    check_positive("temperature", temperature, "Published values lie between 0.01 and 1.")


def check_blocks(name: str, numbers: Any) -> None:
    """Check that a value is None or a list of integers; the encoder checks which blocks its tower has.

    Raises:
        ValueError: same as in `check_whole_list`.
    """
    if numbers is not None:
        check_whole_list(name, numbers, (1, 2, 3))


def check_names(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Check that an argument has all given settings.

    Raises:
        ValueError: a setting is unknown; the message contains the unknown and the known names.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        msg = f"Unknown setting(s) of {name}: {', '.join(unknown)}. Expected some of {', '.join(known)}."
        raise ValueError(msg)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number; booleans are not."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_precision(name: str) -> None:
    """Check that Lightning's precision is not true half or double: anomalib passes images in single precision.

    Raises:
        ValueError: it is; the message names the alternative.
    """
    if name.endswith("-true") and name != "32-true":
        msg = f"Expected precision to be 32-true, 16-mixed or bf16-mixed, but got {name}. Set 16-mixed or bf16-mixed."
        raise ValueError(msg)

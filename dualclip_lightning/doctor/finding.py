"""What a check of the installation has found, and the isolation of checks from each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        subject: what was checked.
        state: "ok", "note" for what is not needed by every command, or "problem".
        text: what was found, in one sentence or a list of values.
        remedy: what to do about it; empty if nothing need be done.
        facts: the same as plain data.
    """

    subject: str
    state: State
    text: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Iterator[Finding]]


def examine(subject: str, check: Check) -> Iterator[Finding]:
    """Yield the findings of a check; whatever error ends it becomes a finding, so that the other checks still run."""
    try:
        yield from check()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken library may raise anything
        yield Finding(
            subject, "problem", f"The check failed ({describe(error)}).",
            "Reinstall the package that the error names. If it is dualclip_lightning, please report it.",
            {"error": describe(error)},
        )  # fmt: skip


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no further message'}"

"""Results of checks, and the error that lists those that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Example:
        >>> from dualclip_lightning.testing import CheckResult
        >>> print(CheckResult("batches_change_no_score", "passed"))
        batches_change_no_score: passed
    """

    name: str
    outcome: Literal["passed", "skipped", "failed"]
    reason: str = ""
    """Sentence that says why the check was skipped, or what failed; empty for a check that passed."""

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}" + (f". {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class MethodReport:
    """Outcomes of all checks of a method, in the order in which they ran; `print` shows one line for each.

    Example:
        >>> from dualclip_lightning.testing import CheckResult, MethodReport
        >>> report = MethodReport("MyMethod", (CheckResult("has_a_kind", "passed"),))
        >>> report.passed, report.skipped
        (('has_a_kind',), {})
        >>> print(report)
        MyMethod: 1 passed, 0 skipped, 0 failed
          has_a_kind: passed
    """

    method: str
    """Name of the method's class."""
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the checks that passed."""
        return tuple(result.name for result in self._those("passed"))

    @property
    def skipped(self) -> dict[str, str]:
        """Reasons of the checks that were skipped, by name."""
        return {result.name: result.reason for result in self._those("skipped")}

    @property
    def failed(self) -> dict[str, str]:
        """Sentences of the checks that failed, by name."""
        return {result.name: result.reason for result in self._those("failed")}

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.skipped)} skipped, {len(self.failed)} failed"
        return "\n".join([f"{self.method}: {counts}", *(f"  {result}" for result in self.results)])

    def _those(self, outcome: str) -> Iterable[CheckResult]:
        return (result for result in self.results if result.outcome == outcome)


class MethodCheckError(AssertionError):
    """Checks of a method failed; the message lists each failure once, with the checks that met it.

    Example:
        >>> from dualclip_lightning.testing import CheckResult, MethodCheckError, MethodReport
        >>> result = CheckResult("has_a_kind", "failed", "MyMethod.kind is None; set it to a Kind.")
        >>> print(MethodCheckError(MethodReport("MyMethod", (result,))))
        MyMethod fails 1 of 1 check(s):
        - has_a_kind: MyMethod.kind is None; set it to a Kind.
    """

    def __init__(self, report: MethodReport) -> None:
        self.report = report
        checks: dict[str, list[str]] = {}
        for name, sentence in report.failed.items():
            checks.setdefault(sentence, []).append(name)
        ran = len(report.results) - len(report.skipped)
        heading = f"{report.method} fails {len(report.failed)} of {ran} check(s):"
        super().__init__("\n".join([heading, *(f"- {', '.join(names)}: {text}" for text, names in checks.items())]))

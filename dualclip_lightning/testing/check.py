"""All checks of a method, in one call or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import SkipTest

from lightning.pytorch.utilities.seed import isolate_rng

from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.testing.checks import CHECKS
from dualclip_lightning.testing.report import CheckResult, MethodCheckError, MethodReport
from dualclip_lightning.testing.subject import Subject

Check = Callable[[], None]
"""Runs a check: returns if it passes, raises AssertionError if it fails and unittest.SkipTest if it does not apply."""


def check_method(method: Callable[..., Any], /, **arguments: Any) -> MethodReport:
    """Check that a method keeps to what this package promises of every method, in the manner of scikit-learn.

    The method is built many times and run through anomalib's Engine on nine small random images, on the CPU and without
    network. A method that derives from `ZeroShotShell` gets a tiny CLIP with random weights, unless `arguments` choose
    `backbone` or `pretrained`. Any other `AnomalibModule` is trained for one epoch if it learns from normal images;
    checks that do not apply to it are skipped.

    Args:
        method: class of the method, or a function that returns a new method and passes its keyword arguments on.
        **arguments: arguments with which the method is built; all others have their defaults.

    Returns:
        The checks that passed, and those that were skipped, with the reason.

    Raises:
        MethodCheckError: checks failed; the message lists all of them. It is an AssertionError.

    Example:
        >>> from dualclip_lightning import ClipZeroShot
        >>> from dualclip_lightning.testing import check_method
        >>> report = check_method(ClipZeroShot, temperature=0.1)
        >>> report.failed
        {}
        >>> "labels_and_masks_change_no_score" in report.passed
        True
    """
    with quiet():
        results = tuple(_result(name, check) for name, check in method_checks(method, **arguments))
    report = MethodReport(Subject(method, arguments).name, results)
    if report.failed:
        raise MethodCheckError(report)
    return report


def method_checks(method: Callable[..., Any], /, **arguments: Any) -> Iterator[tuple[str, Check]]:
    """Yield the name of each check and a function that runs it, for example for `pytest.mark.parametrize`.

    The checks are those of `check_method`. Nothing is built or run before a function is called. The function raises
    AssertionError if the check fails, and unittest.SkipTest, which pytest knows, if it does not apply.

    Args:
        method: class or function as in `check_method`.
        **arguments: arguments as in `check_method`.

    Example:
        >>> from dualclip_lightning import ClipZeroShot
        >>> from dualclip_lightning.testing import method_checks
        >>> checks = dict(method_checks(ClipZeroShot))
        >>> checks["says_what_a_score_depends_on"]()

        In a test module::

            CHECKS = dict(method_checks(MyMethod, alpha=0.3))

            @pytest.mark.parametrize("name", CHECKS)
            def test_my_method(name):
                CHECKS[name]()
    """
    subject = Subject(method, arguments)
    for check in CHECKS:
        yield check.__name__, _isolated(check, subject)


def _isolated(check: Callable[[Subject], None], subject: Subject) -> Check:
    def run() -> None:
        with isolate_rng(include_cuda=False):
            check(subject)

    return run


def _result(name: str, check: Check) -> CheckResult:
    try:
        check()
    except SkipTest as reason:
        return CheckResult(name, "skipped", str(reason))
    except AssertionError as failure:
        return CheckResult(name, "failed", str(failure))
    except Exception as error:  # noqa: BLE001 - whatever a method raises is a failure of the check
        return CheckResult(name, "failed", f"The method raises {type(error).__name__}: {error}")
    return CheckResult(name, "passed")

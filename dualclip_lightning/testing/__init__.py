"""Checks for methods of your own: `check_method` in one call, `method_checks` one by one."""

from dualclip_lightning.testing.check import check_method, method_checks
from dualclip_lightning.testing.report import CheckResult, MethodCheckError, MethodReport

__all__ = ["CheckResult", "MethodCheckError", "MethodReport", "check_method", "method_checks"]

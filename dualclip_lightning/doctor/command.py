"""The command `dualclip doctor`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from dualclip_lightning.commandline.parser import HelpFormatter
from dualclip_lightning.doctor.environment import (
    check_devices,
    check_extras,
    check_imports,
    check_packages,
    check_python,
)
from dualclip_lightning.doctor.finding import Check, Finding, examine
from dualclip_lightning.doctor.installation import check_cache, check_demo_model, check_plugin, check_weights
from dualclip_lightning.doctor.selftest import check_selftest

CHECKS: Mapping[str, Check] = {
    "python": check_python,
    "packages": check_packages,
    "extras": check_extras,
    "imports": check_imports,
    "devices": check_devices,
    "cache": check_cache,
    "demo model": check_demo_model,
    "weights": check_weights,
    "plug-in": check_plugin,
    "self-test": check_selftest,
}
EPILOG = """exit status: 0 everything works (notes do not count), 1 there are problems, 2 wrong use.
Nothing is sent or downloaded. The report contains paths of this machine."""
PROBLEMS = 1
"""Exit status if there are problems."""
WIDTH = 18
"""Width of the column of subjects."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state of the installation and return the exit status."""
    options = parse(arguments)
    findings = []
    for finding in findings_of(CHECKS):
        findings.append(finding)
        if not options.json:
            print("\n".join(_lines(finding)), flush=True)
    problems = sum(finding.state == "problem" for finding in findings)
    if options.json:
        print(json.dumps(as_data(findings), indent=2, default=str))
    else:
        print(f"\n{_conclusion(problems)}")
    return PROBLEMS if problems else 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="dualclip doctor", description="Check the installation, and print what a bug report should contain.",
        epilog=EPILOG, formatter_class=HelpFormatter,
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(sys.argv[1:] if arguments is None else arguments)


def findings_of(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """Yield the findings of all checks, each as soon as it is known."""
    for subject, check in checks.items():
        yield from examine(subject, check)


def as_data(findings: Iterable[Finding]) -> dict[str, object]:
    """Return the findings as plain data, with the overall state."""
    listed = [asdict(finding) for finding in findings]
    state = "problem" if any(each["state"] == "problem" for each in listed) else "ok"
    return {"state": state, "findings": listed}


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.state:<8} {finding.subject:<{WIDTH}} {finding.text}"
    if finding.remedy:
        yield f"{'':<8} {'':<{WIDTH}} -> {finding.remedy}"


def _conclusion(problems: int) -> str:
    if not problems:
        return "Everything that the commands need works."
    more = " Start with the first, from which others may follow." * (problems > 1)
    return f"{problems} problem{'s' * (problems != 1)} found. A line that begins with -> says what to do.{more}"

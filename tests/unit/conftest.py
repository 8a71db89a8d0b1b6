"""Tests of units start no process; those that do are under `tests/integration`."""

from __future__ import annotations

import subprocess
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Refuses processes during a test and its fixtures, except git, which tells the revision of the code.

    pytest calls this for the tests of other folders, too.
    """
    if not item.path.is_relative_to(FOLDER):
        return (yield)
    popen = subprocess.Popen.__init__

    def refuse(*_args, **_kwargs):
        pytest.fail("A test under tests/unit started a process. Move it to tests/integration.")

    def start(self, args, *rest, **options):
        if args[0] != "git":
            refuse()
        popen(self, args, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseProcess, "start", refuse)
        patch.setattr(subprocess.Popen, "__init__", start)
        return (yield)

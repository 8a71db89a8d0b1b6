"""Tests of units start no process; those that do are under `tests/integration`."""

from __future__ import annotations

import subprocess
from multiprocessing.process import BaseProcess

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Refuses processes during a test and its fixtures, except git, which tells the revision of the code."""
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

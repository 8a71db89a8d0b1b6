"""No network, few threads, and no processes where none are expected. The fixtures are in `tests/fixtures.py`."""

from __future__ import annotations

import os
import signal
import subprocess
from multiprocessing import get_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

# Set before anything imports huggingface_hub, so that an unintended download fails at once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# The towers are so small that threads would slow them down; the test processes share the cores instead.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Background jobs of a shell ignore Ctrl-C, which tests of interruptions press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

UNIT = Path(__file__).parent / "unit"


def pytest_configure(config):
    """Load the fixtures, and PyTorch with them, unless this process only distributes tests to others."""
    if not config.getoption("tx", default=None):
        config.pluginmanager.import_plugin("tests.fixtures")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Fail tests that start processes they may not start. Only git, which reports the revision, is always allowed.

    Unit tests may not start any. Other tests may fork, which is cheap, and may start interpreters and other programs if
    they are marked `slow`.
    """
    is_unit = item.path.is_relative_to(UNIT)
    if not is_unit and item.get_closest_marker("slow"):
        return (yield)
    start, popen = BaseProcess.start, subprocess.Popen.__init__

    def start_fork(self):
        if is_unit:
            pytest.fail("A test under tests/unit started a process. Move it to tests/integration.")
        if (self._start_method or get_start_method()) != "fork":
            pytest.fail("A test started an interpreter. Mark it slow.")
        start(self)

    def start_git(self, args, *rest, **options):
        if args[0] != "git":
            pytest.fail("A test started a program. Mark it slow, and keep it under tests/integration.")
        popen(self, args, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseProcess, "start", start_fork)
        patch.setattr(subprocess.Popen, "__init__", start_git)
        return (yield)

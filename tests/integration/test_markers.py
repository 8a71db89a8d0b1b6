"""The marker `slow`: which processes it allows a test to start (see `tests/conftest.py`)."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_context

import pytest


def test_a_program_is_refused_to_a_test_without_the_marker():
    with pytest.raises(pytest.fail.Exception, match="Mark it slow"):
        subprocess.run([sys.executable, "--version"], check=True)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_interpreter_is_refused_to_a_test_without_the_marker(method):
    with pytest.raises(pytest.fail.Exception, match="Mark it slow"):
        get_context(method).Process(target=print).start()


def test_a_fork_is_allowed_here():
    process = get_context("fork").Process(target=sys.exit, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == 3


@pytest.mark.slow
def test_a_program_is_allowed_with_the_marker():
    assert subprocess.run([sys.executable, "-c", "print(3)"], check=True, capture_output=True).stdout == b"3\n"

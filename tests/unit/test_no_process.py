"""Unit tests cannot start processes (see `tests/conftest.py`)."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_context

import pytest


def test_a_fork_is_refused():
    with pytest.raises(pytest.fail.Exception, match=r"Move it to tests/integration"):
        get_context("fork").Process(target=print).start()


@pytest.mark.slow
def test_a_program_is_refused_even_to_a_slow_test():
    with pytest.raises(pytest.fail.Exception, match=r"under tests/integration"):
        subprocess.run([sys.executable, "--version"], check=True)

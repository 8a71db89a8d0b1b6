"""Ctrl-C is not lost where Python drops its exception."""

from __future__ import annotations

import signal
import threading

import pytest

from dualclip_lightning.utilities.interrupts import remembered_interrupts


class PressedInDestructor:
    """An object during whose destruction Ctrl-C is pressed, so that Python drops the exception."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_raised_by_the_check():
    before = signal.getsignal(signal.SIGINT)
    with remembered_interrupts() as check:
        check()
        found = PressedInDestructor()
        del found
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_raised_at_once_where_it_can_be():
    with pytest.raises(KeyboardInterrupt), remembered_interrupts():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the interrupt was not raised")


def test_other_threads_have_nothing_to_check():
    found = []

    def run():
        with remembered_interrupts() as check:
            check()
            found.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [True]

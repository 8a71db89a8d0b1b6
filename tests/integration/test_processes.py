"""Child processes that exchange messages with the tests."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import pytest

from dualclip_lightning.utilities import processes
from dualclip_lightning.utilities.processes import ProcessEndedError, ProcessPool


def double(parent, factor=2):
    while True:
        parent.send(parent.receive() * factor)


def send_and_die(parent):
    parent.send("last words")
    os.kill(os.getpid(), signal.SIGKILL)


def wait_forever(parent):
    parent.send(os.getpid())
    threading.Event().wait()


def refuse_to_terminate(parent):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_forever(parent)


@pytest.mark.slow
def test_a_new_process_answers_every_message_in_turn():
    assert_answers()


def test_a_process_answers_every_message_in_turn(forks):
    assert_answers()


def assert_answers():
    with ProcessPool() as pool:
        child = pool.start(double, 3)
        for number in (1, 2):
            child.send(number)
        assert [child.receive(), child.receive()] == [3, 6]


def test_only_processes_that_have_sent_a_message_or_ended_are_ready(forks):
    with ProcessPool() as pool:
        silent, talking = pool.start(double), pool.start(double)
        talking.send(1)
        assert pool.ready([silent, talking]) == [talking]
        assert talking.receive() == 2
        os.kill(silent.process.pid, signal.SIGKILL)
        assert pool.ready([silent, talking]) == [silent]


def test_a_process_that_is_killed_is_reported_after_its_last_message(forks):
    with ProcessPool() as pool:
        child = pool.start(send_and_die)
        child.process.join()
        child.send("too late")
        assert child.receive() == "last words"
        with pytest.raises(ProcessEndedError, match="exit code -9") as found:
            child.receive()
        assert found.value.exit_code == -signal.SIGKILL


def test_an_interrupt_is_left_to_the_parent_process(forks):
    with ProcessPool() as pool:
        child = pool.start(double)
        child.send(1)
        assert child.receive() == 2  # it has begun
        os.kill(child.process.pid, signal.SIGINT)
        child.send(2)
        assert child.receive() == 4


def break_off(work):
    """Leave the pool with an error while a process is working."""
    with ProcessPool() as pool:
        child = pool.start(work)
        child.send(1)
        child.receive()  # it has begun
        msg = "enough"
        raise RuntimeError(msg)


@pytest.mark.parametrize("work", [double, wait_forever, refuse_to_terminate])
def test_no_process_outlives_the_pool_even_if_an_error_ends_it(work, forks, monkeypatch):
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match="enough"):
        break_off(work)
    left = multiprocessing.active_children()  # a killed process may take a moment to end
    for process in left:
        process.join(60)
    assert not any(process.is_alive() for process in left)


@pytest.mark.slow
def test_a_process_that_waits_for_a_message_exits_when_the_connection_closes(monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", None)  # no time limit
    with ProcessPool() as pool:
        child = pool.start(double)
    assert child.process.exitcode == 0

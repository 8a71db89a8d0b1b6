"""Work in threads: the order of results, the bound on tasks, and errors."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from dualclip_lightning.utilities.threads import Crew, cores


@pytest.fixture
def gates():
    """Ten events, which are set at the end of a test, so that no thread waits for ever."""
    events = [threading.Event() for _ in range(10)]
    yield events
    for event in events:
        event.set()


def test_results_come_in_the_order_of_the_items_even_if_later_ones_finish_first(gates):
    """The first task waits for the second."""

    def task(number: int) -> int:
        if number == 0:
            assert gates[1].wait(60)
        gates[number].set()
        return number * number

    with Crew(threads=2, most=4) as crew:
        assert list(crew.map(task, range(10))) == [number * number for number in range(10)]


def test_items_are_taken_only_as_far_ahead_as_allowed():
    taken = []
    with Crew(threads=2, most=3) as crew:
        results = crew.map(lambda item: item, (taken.append(number) or number for number in count()))
        for number in range(5):
            assert next(results) == number
            assert len(taken) == 3 + number + 1


def test_an_error_comes_in_the_place_of_its_item_and_what_has_not_begun_is_cancelled(gates):
    done = []

    def task(number: int) -> int:
        if number == 1:
            raise OSError("full")
        if number == 2:
            gates[2].wait(60)
        done.append(number)
        return number

    crew = Crew(threads=1, most=4)
    results = crew.map(task, range(10))
    assert next(results) == 0
    with pytest.raises(OSError, match="full"):
        next(results)
    threading.Thread(target=gates[2].set).start()
    crew.__exit__(None, None, None)
    assert 5 not in done


def test_a_caller_that_is_ahead_of_its_tasks_waits_for_the_oldest(gates):
    events: list[object] = []

    def task(number: int) -> None:
        assert gates[number].wait(60)
        events.append(number)

    def call() -> None:
        crew.begin(task, 2)
        events.append("begun")
        gates[1].set()

    with Crew(threads=2, most=2) as crew:
        crew.begin(task, 0)
        crew.begin(task, 1)
        gates[2].set()
        caller = threading.Thread(target=call)
        caller.start()
        gates[0].set()
        caller.join(60)
        crew.wait()
    assert events.index("begun") > events.index(0)
    assert sorted(map(str, events)) == ["0", "1", "2", "begun"]


def test_errors_of_tasks_without_a_result_do_not_reach_the_caller():
    def task(number: int) -> None:
        raise ValueError(number)

    with Crew(threads=1, most=1) as crew:
        for number in range(3):
            crew.begin(task, number)
        crew.wait()


def test_there_is_at_least_one_core():
    assert cores() >= 1

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.run.local_runner import Event
from dualclip_lightning.benchmark.run.progress import Board, watched
from tests.tiny_benchmark import tiny_config


@pytest.fixture
def cells():
    return plan(tiny_config("data", "demo"))


def done(cell, seconds=1.0):
    return Event(cell, {"status": "done", "seconds": seconds})


def printed(board):
    console = Console(width=120, file=io.StringIO())
    console.print(board)
    return console.file.getvalue()


def test_time_left_is_the_mean_time_of_each_method_times_its_open_cells_over_the_workers(cells):
    text, *joint = cells
    board = Board(cells, [], workers=2)
    assert board.seconds_left() is None
    board.note(done(joint[0], 10))
    assert board.seconds_left() == (2 * 10 + 1 * 10) / 2  # no cell of the other method has finished
    board.note(done(text, 2))
    assert board.seconds_left() == 2 * 10 / 2
    board.note(Event(joint[1], {"status": "failed"}))
    assert board.seconds_left() == 10 / 2


def test_a_row_states_how_many_cells_are_done_failed_and_running(cells):
    _, *joint = cells
    board = Board(cells, [cells[0].key], workers=1)
    board.note(Event(joint[0], None))
    assert "metal_nut, seed 0" in printed(board)
    board.note(Event(joint[0], {"status": "failed"}))
    board.note(done(joint[1]))
    shown = printed(board)
    assert "metal_nut" not in shown
    text, joined = (line.split() for line in shown.splitlines()[1:3])
    assert text[:3] == ["text", "MVTecAD", "1/1"]
    assert joined[:4] == ["joint", "MVTecAD", "1/3", "1"]
    assert "3 of 4 cells, about 0:00:01 left" in shown


def test_without_a_terminal_every_event_passes_and_nothing_is_printed(cells):
    events = [Event(cells[0], None), done(cells[0])]
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal)
        assert list(watched(iter(events), Board(cells, [], 1), console)) == events
        assert bool(console.file.getvalue()) == terminal


def test_cells_that_run_at_once_count_as_workers(cells):
    board = Board(cells, [], workers=1)
    for cell in cells[:2]:
        board.note(Event(cell, None))
    board.note(done(cells[0], 10))
    assert board.seconds_left() == 3 * 10 / 2

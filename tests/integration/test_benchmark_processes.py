"""The benchmark in several processes."""

from __future__ import annotations

import multiprocessing

import pytest

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.results import cell_path
from dualclip_lightning.benchmark.run.local_runner import run_in_processes
from dualclip_lightning.benchmark.run.machine import places
from tests.tiny_benchmark import tiny_config


@pytest.fixture
def config(mvtec_root, tiny_folder):
    return tiny_config(mvtec_root, tiny_folder, seeds=[0, 1])


@pytest.mark.slow
def test_a_process_that_is_killed_fails_its_cell_and_is_replaced(config, tmp_path, forks):
    cells, events, killed = plan(config), [], []
    before = set(multiprocessing.active_children())
    for event in run_in_processes(cells, tmp_path, places("cpu", 1)):
        events.append(event)
        if event.row is None and not killed:
            (process,) = set(multiprocessing.active_children()) - before
            process.kill()
            killed.append(event.cell.key)
    rows = {event.cell.key: event.row for event in events if event.row is not None}
    assert [rows[cell.key]["status"] for cell in cells] == ["failed", "done", "done"]
    assert "exit code -9" in rows[killed[0]]["error"]
    assert all(cell_path(tmp_path, cell.key).is_file() for cell in cells)
    assert set(multiprocessing.active_children()) == before

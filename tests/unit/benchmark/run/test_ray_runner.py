"""Events of the Ray runner, for any order in which a cluster finishes its cells; Ray is not needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.results import CellResult, read_cell
from dualclip_lightning.benchmark.run import ray_runner
from dualclip_lightning.benchmark.run.ray_runner import Resources, run_on_ray
from tests.tiny_benchmark import tiny_config


class LostError(Exception):
    """Stand-in for Ray's errors about lost machines."""


class Cluster:
    """Stand-in for a cluster of one core that finishes tasks in a chosen order and loses one of them for good."""

    def __init__(self, order, lost=()):
        self.order, self.lost = list(order), set(lost)
        self.tasks = {}
        self.exceptions = SimpleNamespace(RayError=LostError)

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 1.0}

    def remote(self, _):
        def submit(cell, place, directory, checkpoint):
            number = len(self.tasks)
            self.tasks[number] = (cell, place)
            assert directory == Path.cwd()
            assert checkpoint is None
            return number

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=submit))

    def wait(self, pending, num_returns):
        assert num_returns == 1
        done = next(number for number in self.order if number in pending)
        return [done], [number for number in pending if number != done]

    def get(self, number):
        if number in self.lost:
            raise LostError("the machine is gone")
        cell, _ = self.tasks[number]
        return CellResult({"key": cell.key, "status": "done"}, None, None)


@pytest.fixture
def cells(mvtec_root, tiny_folder):
    return plan(tiny_config(mvtec_root, tiny_folder, seeds=[0, 1]))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_every_cell_begins_once_and_then_ends_once(order, cells, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_runner, "import_ray", lambda: Cluster(order))
    events = [(event.cell.key, event.row is not None) for event in run_on_ray(cells, tmp_path, Resources())]
    assert len(cells) == 3
    assert len(events) == len(set(events)) == 6
    for cell in cells:
        assert events.index((cell.key, False)) < events.index((cell.key, True))
    assert [key for key, ended in events if ended] == [cells[number].key for number in order]


def test_a_cell_that_is_lost_for_good_has_failed_and_the_rest_goes_on(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_runner, "import_ray", lambda: Cluster((0, 1, 2), lost=[1]))
    ends = [event.row for event in run_on_ray(cells, tmp_path, Resources()) if event.row is not None]
    assert [row["status"] for row in ends] == ["done", "failed", "done"]
    assert "the machine is gone" in read_cell(tmp_path, cells[1].key)["error"]

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError, parse_config
from dualclip_lightning.benchmark.results import load_run
from dualclip_lightning.benchmark.run import local_runner, session
from dualclip_lightning.benchmark.run.execute import failed_result
from dualclip_lightning.benchmark.run.ray_runner import Resources
from dualclip_lightning.benchmark.run.session import Means, look, notes, run_benchmark
from tests.tiny_benchmark import tiny_config


@pytest.fixture
def ran(monkeypatch):
    """List of the keys of the cells that were run, in order."""
    keys, original = [], local_runner.run_cell

    def run_cell(cell, place):
        keys.append(cell.key)
        return original(cell, place)

    monkeypatch.setattr(local_runner, "run_cell", run_cell)
    return keys


@pytest.fixture(scope="module")
def config(mvtec_root, tiny_folder):
    return tiny_config(mvtec_root, tiny_folder, seeds=[0, 1])


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """Folder of a finished run, and the results that it returned."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run_benchmark(config, folder)


@pytest.fixture
def folder(finished, tmp_path):
    """Copy of the folder of a finished run."""
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.mark.slow
def test_results_grow_while_the_run_goes_on(config, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "SECONDS_BETWEEN_TABLES", 0)
    rows = []

    def look_in(event):
        if event.row is not None:
            rows.append(load_run(tmp_path).frame["key"].tolist())

    run_benchmark(config, tmp_path, on_event=look_in)
    keys = [cell.key for cell in plan(config)]
    assert rows == [keys[: count + 1] for count in range(len(keys))]


@pytest.mark.slow
def test_a_run_leaves_its_configuration_and_a_row_for_every_cell(config, finished):
    folder, frame = finished
    run = load_run(folder)
    assert run.frame["key"].tolist() == frame["key"].tolist() == [cell.key for cell in plan(config)]
    assert set(run.frame["status"]) == {"done"}
    assert run.images.groupby("key").size().eq(9).all()
    assert all(Path(path).is_file() for path in run.images["image_path"])
    assert parse_config(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))) == config


@pytest.mark.slow
def test_parquet_is_written_at_the_end_if_asked_for_and_never_of_an_earlier_run(config, folder):
    run_benchmark(replace(config, parquet=True), folder)
    results, images = (pd.read_parquet(folder / f"{name}.parquet") for name in ("results", "images"))
    assert results["key"].tolist() == [cell.key for cell in plan(config)]
    assert images.groupby("key").size().eq(9).all()
    run_benchmark(config, folder)
    assert not list(folder.glob("*.parquet"))


def test_a_second_call_runs_nothing_and_with_a_further_seed_only_that_seed(
    config, mvtec_root, tiny_folder, finished, folder, ran
):
    second = run_benchmark(config, folder)
    assert ran == []
    assert finished[1].equals(second)
    more = tiny_config(mvtec_root, tiny_folder, seeds=[0, 1, 5])
    assert run_benchmark(more, folder)["seed"].tolist() == [0, 0, 1, 5]
    assert len(ran) == 1


def test_cells_with_a_changed_argument_do_not_count_as_finished(mvtec_root, tiny_folder, folder, ran):
    methods = {"text": {"model": "DualImageCLIP", "arguments": {"alpha": 1.0, "temperature": 0.1}, "seeds": [0]}}
    other = tiny_config(mvtec_root, tiny_folder, methods=methods)
    frame = run_benchmark(other, folder)
    assert len(ran) == len(frame) == 1
    said = " ".join(notes(look(other, folder), folder))
    assert "1 of 1 cells are finished already" in said
    assert "3 cells of other settings stay in" in said


@pytest.mark.slow
def test_a_cell_that_fails_is_recorded_the_others_go_on_and_it_is_tried_again(config, tmp_path, monkeypatch, ran):
    unlucky, original = plan(config)[1], local_runner.run_cell

    def run_cell(cell, place):
        if cell.key == unlucky.key:
            return failed_result(cell, RuntimeError("out of luck\nin two lines"))
        return original(cell, place)

    with monkeypatch.context() as patch:
        patch.setattr(local_runner, "run_cell", run_cell)
        frame = run_benchmark(config, tmp_path)
    assert frame["status"].tolist() == ["done", "failed", "done"]
    assert frame["error"][1] == "RuntimeError: out of luck in two lines"
    ran.clear()
    assert set(run_benchmark(config, tmp_path)["status"]) == {"done"}
    assert ran == [unlucky.key]


def test_unavailable_data_fail_their_cells_before_any_is_run(config, tmp_path, monkeypatch, ran):
    from anomalib.data import MVTecAD

    def prepare_data(self):
        raise OSError("no route to host")

    monkeypatch.setattr(MVTecAD, "prepare_data", prepare_data)
    frame = run_benchmark(config, tmp_path)
    (error,) = set(frame["error"])
    root = config.datasets["MVTecAD"].arguments["root"]
    for said in (
        "DataError",
        "MVTecAD metal_nut",
        f"'{root}'",
        "OSError: no route to host",
        "datasets.MVTecAD.arguments.root",
    ):
        assert said in error
    assert len(frame) == 3
    assert ran == []


def test_a_refused_configuration_leaves_the_folder_as_it_was(mvtec_root, tiny_folder, tmp_path):
    methods = {"far": {"model": "DualImageCLIP", "arguments": {"alpha": 2}}}
    with pytest.raises(ConfigError, match="alpha"):
        run_benchmark(tiny_config(mvtec_root, tiny_folder, methods=methods), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused_before_anything_runs(mvtec_root, tiny_folder, tmp_path):
    with pytest.raises(ConfigError, match="device=cpu"):
        run_benchmark(tiny_config(mvtec_root, tiny_folder, device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_finished_cells_of_another_revision_are_named(config, folder, monkeypatch):
    assert "another revision" not in " ".join(notes(look(config, folder), folder))
    monkeypatch.setattr(session, "git_revision", lambda: "somewhere-else")
    assert "another revision of the code" in " ".join(notes(look(config, folder), folder))


def test_data_are_prepared_before_a_cluster_gets_tasks(config, tmp_path, monkeypatch):
    from anomalib.data import MVTecAD

    order, prepare_data = [], MVTecAD.prepare_data
    monkeypatch.setattr(MVTecAD, "prepare_data", lambda self: (order.append("data"), prepare_data(self))[1])
    monkeypatch.setattr(session, "import_ray", lambda: None)
    monkeypatch.setattr(session, "connected", nullcontext)
    monkeypatch.setattr(session, "run_on_ray", lambda cells, *_: iter([order.append(len(cells))][:0]))
    run_benchmark(config, tmp_path, Means(ray=Resources()))
    assert order == ["data", 3]

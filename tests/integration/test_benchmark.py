"""`dualclip benchmark` as a user starts it, interrupts it and starts it again."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import signal
import sys
from contextlib import suppress

import pandas as pd
import pytest
import torch

from dualclip_lightning.benchmark import options
from dualclip_lightning.benchmark.results import load_run
from dualclip_lightning.benchmark.run import local_runner, session
from dualclip_lightning.benchmark.run.session import run_benchmark
from tests.forked import Forked
from tests.tiny_benchmark import assert_same_results, tiny_config, write_tiny_config

SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def undisturbed(mvtec_root, tiny_folder, tmp_path_factory):
    """Folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("run")
    run_benchmark(tiny_config(mvtec_root, tiny_folder, seeds=SEEDS), folder)
    return folder


def die_after_a_cell(folder):
    """Make this process kill itself as soon as it has written a cell."""
    write = local_runner.write_cell

    def write_and_die(*arguments):
        write(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    local_runner.write_cell = write_and_die


def die_after_a_cell_of_a_worker(folder):
    """Make this process kill itself at the first cell that a worker finishes, with the workers' IDs in a file."""
    run = session.run_in_processes

    def run_and_die(*arguments):
        for event in run(*arguments):
            if event.row is not None:
                workers = [worker.pid for worker in multiprocessing.active_children()]
                (folder / "workers.json").write_text(json.dumps(workers))
                os.kill(os.getpid(), signal.SIGKILL)
            yield event

    session.run_in_processes = run_and_die


def wait_for_the_end(pid):
    """Wait for the end of a process that is not a child of this one; requires Linux."""
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        select.select([watched], [], [])
        os.close(watched)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="waits for processes that are not its children")
@pytest.mark.parametrize(
    ("more", "prepare"),
    [((), die_after_a_cell), (("--workers", "2"), die_after_a_cell_of_a_worker)],
    ids=["alone", "two processes"],
)
def test_a_killed_run_continues_where_it_was_and_gives_the_same_table(
    more, prepare, undisturbed, mvtec_root, tiny_folder, tmp_path, capsys, prepared, request
):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, seeds=SEEDS)
    folder, expected = tmp_path / "run", load_run(undisturbed)
    line = ["--config", str(config), "--out", str(folder), *more]

    def run_until_killed():
        prepare(tmp_path)
        return options.benchmark(line)

    assert Forked(run_until_killed, tmp_path).end().status == -signal.SIGKILL
    for worker in json.loads((tmp_path / "workers.json").read_text()) if more else []:
        wait_for_the_end(worker)
    kept = {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}
    assert 1 <= len(kept) < len(expected.frame)
    assert all(json.loads(path.read_text())["status"] == "done" for path in kept)
    request.getfixturevalue("forks")  # not before: a fork would hold the connection that tells it of the end
    assert options.benchmark(line) == 0
    assert f"{len(kept)} of {len(expected.frame)} cells are finished already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # no cell was repeated
    assert len(list((folder / "cells").glob("*.json"))) == len(expected.frame)
    assert_same_results(load_run(folder).frame, expected.frame)
    # Another number of threads adds in another order.
    pd.testing.assert_frame_equal(load_run(folder).images, expected.images, atol=1e-6)
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_a_failed_cell_is_reported_at_the_end_and_in_the_exit_status(mvtec_root, tiny_folder, tmp_path, capsys):
    arguments = {"reference_dir": str(tmp_path / "nowhere")}
    methods = {"good": {"model": "DualImageCLIP"}, "broken": {"model": "DualImageCLIP", "arguments": arguments}}
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, methods=methods, seeds=[0])
    assert options.benchmark(["--config", str(config), "--out", str(tmp_path / "run"), "--no-report"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("Failed: broken, MVTecAD metal_nut, seed 0: ValueError: Expected reference_dir")
    assert pd.read_csv(tmp_path / "run" / "results.csv")["status"].tolist() == ["done", "failed"]
    assert (tmp_path / "run" / "tables" / "failed.md").is_file()
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_wrong_name_is_refused_and_nothing_is_written(mvtec_root, tiny_folder, tmp_path, capsys):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    line = ["--config", str(config), "--out", str(tmp_path / "run")]
    assert options.benchmark([*line, "methods.joint.model=DualImage"]) == 2
    assert "Did you mean 'DualImageCLIP'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_would_run_and_writes_nothing(mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--dry-run", "seeds=[0,1]"]) == 0
    printed = capsys.readouterr().out
    assert "tiny: 3 cells, 3 to run, into results/benchmark/tiny" in printed
    assert "2 x joint on MVTecAD" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("methods.joint.arguments.alpha=2", "Expected alpha to be in [0, 1]"),
        pytest.param("device=cuda", "device=cpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU")),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(override, sentence, mvtec_root, tiny_folder, tmp_path, capsys):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(tmp_path / "run"), "--dry-run", override]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_reported(mvtec_root, tiny_folder, tmp_path, capsys):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(config / "run")]) == 3
    said = capsys.readouterr().err
    assert said.startswith("dualclip: Cannot write")
    assert "the same command continues" in said


def test_an_interrupt_keeps_what_is_finished(mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch):
    original, calls = local_runner.run_cell, []

    def run_cell(cell, place):
        calls.append(cell)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(cell, place)

    monkeypatch.setattr(local_runner, "run_cell", run_cell)
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(tmp_path / "run")]) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert len(load_run(tmp_path / "run").frame) == 2


@pytest.mark.slow
def test_maps_are_kept_when_asked_for_later_without_losing_the_rest(mvtec_root, tiny_folder, tmp_path):
    def run(**changes):
        run_benchmark(tiny_config(mvtec_root, tiny_folder, seeds=[0, 1], **changes), tmp_path)
        found = load_run(tmp_path)
        return [found.maps(key) is not None for key in found.frame["key"]]

    assert run() == [False, False, False]
    assert run(keep_maps="first") == [True, True, False]


def test_without_ray_a_cluster_is_refused_with_the_remedy(mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(tmp_path / "run"), "--runner", "ray"]) == 2
    assert 'pip install "dualclip_lightning[ray]"' in capsys.readouterr().err

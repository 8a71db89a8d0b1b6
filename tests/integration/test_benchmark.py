"""`dualclip benchmark` as a user starts it, stops it and starts it again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from dualclip_lightning.benchmark import options
from dualclip_lightning.benchmark.results import load_run
from dualclip_lightning.benchmark.run.session import run_benchmark
from tests.tiny_benchmark import assert_same_results, tiny_config, write_tiny_config

SEEDS = [0, 1, 2, 3, 4, 5, 6]
"""Enough cells that a run is killed after the first of them and before the last even when the machine is busy."""
PATIENCE = 120


@pytest.fixture(scope="module")
def undisturbed(mvtec_root, tiny_folder, tmp_path_factory):
    """The results of a run that nobody stopped."""
    return run_benchmark(tiny_config(mvtec_root, tiny_folder, seeds=SEEDS), tmp_path_factory.mktemp("run"))


def start(config, folder, *options):
    """The command in a process of its own."""
    program = "import sys; from dualclip_lightning.cli import main; sys.exit(main())"
    line = [sys.executable, "-c", program, "benchmark", "--config", config, "--out", folder, *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process=None):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def children(pid):
    """Processes that another one started; needs Linux."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in text.split()]


def is_running(pid):
    """Whether a process works on; one that nobody has buried yet does not."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def stopped_run(config, folder, *options):
    """Kill the command when it has finished a cell or a few; the time each of them was written."""
    process = start(config, folder, *options)
    wait_for(lambda: any((folder / "cells").glob("*.json")), process)
    workers = children(process.pid) if options else []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not any(map(is_running, workers)))
    files = (folder / "cells").glob("*.json")
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["alone", "two processes"])
def test_a_killed_run_continues_where_it_was_and_gives_the_same_table(
    options, undisturbed, mvtec_root, tiny_folder, tmp_path
):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, seeds=SEEDS)
    folder = tmp_path / "run"
    kept = stopped_run(config, folder, *options)
    assert 1 <= len(kept) < len(undisturbed)
    assert all(json.loads(path.read_text())["status"] == "done" for path in kept)
    process = start(config, folder, *options)
    printed, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaints
    assert f"{len(kept)} of {len(undisturbed)} cells are finished already" in printed
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was repeated
    assert len(list((folder / "cells").glob("*.json"))) == len(undisturbed)
    assert_same_results(load_run(folder).frame, undisturbed.astype(load_run(folder).frame.dtypes))
    assert (folder / "report.html").is_file()


def test_a_failed_cell_is_said_at_the_end_and_in_the_exit_status(mvtec_root, tiny_folder, tmp_path, capsys):
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


def test_a_folder_that_cannot_be_written_is_said(mvtec_root, tiny_folder, tmp_path, capsys):
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(config / "run")]) == 3
    said = capsys.readouterr().err
    assert said.startswith("dualclip: Cannot write")
    assert "the same command continues" in said


def test_an_interrupt_keeps_what_is_finished(mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch):
    from dualclip_lightning.benchmark.run import local_runner

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


def test_maps_are_kept_when_asked_for_later_without_losing_the_rest(mvtec_root, tiny_folder, tmp_path):
    def run(**changes):
        run_benchmark(tiny_config(mvtec_root, tiny_folder, seeds=[0, 1], **changes), tmp_path)
        found = load_run(tmp_path)
        return [found.maps(key) is not None for key in found.frame["key"]]

    assert run() == [False, False, False]
    assert run(keep_maps="first") == [True, True, False]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_machine_of_a_cluster_loses_no_cell_and_doubles_none(undisturbed, mvtec_root, tiny_folder, tmp_path):
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    from dualclip_lightning.benchmark.plan.cells import plan
    from dualclip_lightning.benchmark.results import assemble
    from dualclip_lightning.benchmark.run.ray_runner import Resources, run_on_ray

    cells = plan(tiny_config(mvtec_root, tiny_folder, seeds=SEEDS))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        events, begun = [], []
        for event in run_on_ray(cells, tmp_path, Resources(cpus=1)):
            events += [event] if event.row is not None else []
            begun += [event.cell.key] if event.row is None else []
            if len(events) == 1 and event.row is not None:
                wait_for(lambda: ray.available_resources().get("CPU", 0) == 0)  # a cell on each machine
                cluster.remove_node(workers[0], allow_graceful=False)
        wait_for(lambda: [node["Alive"] for node in ray.nodes()].count(False) == 1)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert sorted(begun) == sorted(cell.key for cell in cells)
    assert sorted(event.cell.key for event in events) == sorted(cell.key for cell in cells)
    frame = assemble(tmp_path, [cell.key for cell in cells])
    assert_same_results(frame, undisturbed)


def test_without_ray_a_cluster_is_refused_with_the_remedy(mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    config = write_tiny_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder)
    assert options.benchmark(["--config", str(config), "--out", str(tmp_path / "run"), "--runner", "ray"]) == 2
    assert "pip install 'dualclip_lightning[ray]'" in capsys.readouterr().err

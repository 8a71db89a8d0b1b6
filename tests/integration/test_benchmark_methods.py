"""Methods of others and methods trained in the run, as a user starts, stops and continues them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading

import pandas as pd
import pytest
import torch
import yaml
from torchvision.transforms.v2.functional import resize

from dualclip_lightning import ClipAD
from dualclip_lightning.benchmark import options
from dualclip_lightning.benchmark.results import load_run
from dualclip_lightning.benchmark.run import local_runner, session
from dualclip_lightning.benchmark.run.ray_runner import run_on_ray
from dualclip_lightning.data import Folders
from tests.clusters import running_cluster
from tests.forked import Forked
from tests.outside_method import AUXILIARY, write_outside_method
from tests.tiny_benchmark import assert_same_results, tiny_content
from tests.towers import write_mvtec

SDP_PLUS = {"model": "ClipAD", "arguments": {"variant": "sdp+", "epochs": 1}}


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """Folder of two categories to train on, in MVTec AD's layout."""
    root = tmp_path_factory.mktemp("boards")
    for seed, name in enumerate(["left", "right"]):
        write_mvtec(root, name, normal=2, anomalous=2 + seed)
    return root


def write_config(path, root, weights, methods, **changes):
    content = tiny_content(root, weights, methods=methods, **{"seeds": [0, 1], **changes})
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def start(config, folder, *more):
    return options.benchmark(["--config", str(config), "--out", str(folder), "--no-report", *more])


def sdp_plus(boards, **changes):
    return {"SDP+": SDP_PLUS | {"train_on": {"data": "Folders", "arguments": {"root": str(boards)}}} | changes}


@pytest.fixture(scope="module")
def undisturbed(boards, mvtec_root, tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = write_config(folder / "tiny.yaml", mvtec_root, tiny_folder, sdp_plus(boards))
    assert start(config, folder / "run") == 0
    return folder / "run"


def trainings(folder):
    return sorted((folder / "cells").glob("training-*.json"))


@pytest.mark.slow
def test_layers_are_trained_once_a_seed_and_kept_with_their_provenance(undisturbed, boards):
    found = load_run(undisturbed).frame
    assert found["kind"].tolist() == ["auxiliary"] * 2
    rows = [json.loads(path.read_text()) for path in trainings(undisturbed)]
    assert [row["seed"] for row in rows] == [0, 1]
    for row, tested in zip(rows, found.to_dict("records"), strict=True):
        (record,) = row["provenance"]["trained_on"]
        assert record["categories"] == row["trained_categories"] == ["left", "right"]
        assert record["images"] == row["num_images"] == 9
        assert (record["epochs"], record["seed"]) == (1, row["seed"])
        assert row["data_root"] == str(boards)
        assert len(row["images_sha256"]) == 64
        layers = json.loads(tested["parameters"])["layers_sha256"]
        assert layers == row["provenance"]["layers_sha256"]
        saved = torch.load((undisturbed / "cells" / row["key"]).with_suffix(".ckpt"), weights_only=True)
        assert not saved.get("optimizer_states")
        assert all("trained_layers" in name for name in saved["state_dict"] if name.startswith("model."))
    assert rows[0]["provenance"]["layers_sha256"] != rows[1]["provenance"]["layers_sha256"]


@pytest.mark.slow
def test_what_is_trained_is_not_trained_again_for_other_tests(undisturbed, boards, mvtec_root, tiny_folder, tmp_path):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("training-*")}
    methods = sdp_plus(boards, per_dataset={"MVTecAD": {"arguments": {"drawing": {"sigma": 2}}}})
    assert start(write_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, methods), folder) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("training-*")} == before


@pytest.mark.parametrize("when", ["in the first training", "after the first training"])
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_run_killed_in_training_continues_with_the_same_command(
    when, undisturbed, boards, mvtec_root, tiny_folder, tmp_path
):
    config = write_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, sdp_plus(boards))
    folder, write = tmp_path / "run", local_runner.write_cell

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def write_and_die(*arguments):
        write(*arguments)
        die()

    def run_until_killed():
        if when.startswith("after"):
            local_runner.write_cell = write_and_die
        else:
            ClipAD.training_step = die
        return start(config, folder)

    assert Forked(run_until_killed, tmp_path).end().status == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in trainings(folder)}
    assert len(kept) == (1 if when.startswith("after") else 0)
    assert start(config, folder) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected = load_run(undisturbed)
    found = load_run(folder).images
    other = expected.images[expected.images["key"].isin(found["key"])]
    pd.testing.assert_frame_equal(found, other.reset_index(drop=True), atol=1e-6)


@pytest.mark.slow
def test_a_failed_training_fails_its_tests_with_its_reason_and_runs_again(
    boards, mvtec_root, tiny_folder, tmp_path, capsys, monkeypatch
):
    config = write_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, sdp_plus(boards), seeds=[0])

    def fail(*_):
        raise MemoryError("too large")

    with monkeypatch.context() as patch:
        patch.setattr(ClipAD, "fit_auxiliary", fail)
        assert start(config, tmp_path / "run") == 1
    assert "The training on Folders failed: MemoryError: too large" in capsys.readouterr().err
    assert start(config, tmp_path / "run") == 0


@pytest.mark.slow
def test_an_outside_class_is_trained_on_other_data_by_its_hook(boards, mvtec_root, tiny_folder, tmp_path, monkeypatch):
    write_outside_method(tmp_path, "colours_of_others", AUXILIARY)
    monkeypatch.syspath_prepend(tmp_path)
    own = {"model": "colours_of_others.ColourKnn"}
    methods = sdp_plus(boards, **own, arguments={"size": 32})
    config = write_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, methods, seeds=[0])
    assert start(config, tmp_path / "run") == 0
    found = load_run(tmp_path / "run")
    assert found.frame["kind"].tolist() == ["auxiliary"]
    (training,) = trainings(tmp_path / "run")
    saved = torch.load(training.with_suffix(".ckpt"), weights_only=True)["state_dict"]["model.bank"]
    data = Folders(boards, category="right")
    data.setup()
    shrunk = torch.stack([resize(item.image, [32, 32], antialias=True) for item in data.train_data])
    mean, std = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    colours = torch.nn.functional.avg_pool2d((shrunk - mean) / std, 8).flatten(2).transpose(1, 2).reshape(-1, 3)
    assert torch.cdist(saved, colours).amin(dim=1).max() < 1e-2


def test_training_on_tested_images_is_refused_and_nothing_is_written(mvtec_root, tiny_folder, tmp_path, capsys):
    methods = {"SDP+": SDP_PLUS | {"train_on": {"data": "MVTecAD"}}}
    config = write_config(tmp_path / "tiny.yaml", mvtec_root, tiny_folder, methods)
    assert start(config, tmp_path / "run") == 2
    assert "trained on MVTecAD and tested on MVTecAD, which are the same images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


HANGING = """        import pathlib, signal, time
        hung = pathlib.Path({0!r})
        while not hung.exists():
            import ray
            if ray.get_runtime_context().get_node_id() == hung.with_name("lost").read_text():
                hung.touch()
                signal.pause()
            time.sleep(0.02)
        self.model(batch.image)"""
"""Training that waits until one hangs on the machine that will be lost; not where the file is there."""


@pytest.fixture(scope="module")
def mixed(boards, mvtec_root, tiny_folder, tmp_path_factory):
    """Folder with `tiny.yaml`, the outside method that it names, and `here`, the results of a run in this process."""
    folder = tmp_path_factory.mktemp("mixed")
    write_outside_method(
        folder, "colours_elsewhere", [("        self.model(batch.image)", HANGING.format(str(folder / "hung")))]
    )
    (folder / "hung").touch()
    methods = {
        "colours": {"model": "colours_elsewhere.ColourKnn"},
        "few colours": {"model": "colours_elsewhere.ColourKnn", "k_shot": 1},
        "PaDiM": {"model": "padim", "arguments": {"pre_trained": False, "image_size": 32}},
        **sdp_plus(boards),
    }
    (folder / "data").symlink_to(mvtec_root, target_is_directory=True)
    write_config(folder / "tiny.yaml", "data", tiny_folder, methods, seeds=[0])  # a path relative to the folder
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        assert start("tiny.yaml", "here") == 0
    return folder


@pytest.mark.slow
def test_the_kind_and_the_package_of_an_outside_method_stand_in_the_results(mixed):
    found = load_run(mixed / "here").frame
    kinds = dict(zip(found["method"], found["kind"], strict=True))
    assert kinds == {"colours": "full-shot", "few colours": "few-shot", "PaDiM": "full-shot", "SDP+": "auxiliary"}
    assert found["package"].tolist()[0] == str(mixed / "colours_elsewhere.py")
    assert "| few colours | few-shot |" in (mixed / "here" / "tables" / "mvtecad.md").read_text()


@pytest.mark.slow
def test_an_outside_method_a_model_of_anomalib_and_a_trained_one_run_in_other_processes_as_in_this_one(
    mixed, monkeypatch, prepared
):
    monkeypatch.chdir(mixed)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert start("tiny.yaml", "workers", "--workers", "2") == 0
    here, there = (load_run(mixed / name) for name in ("here", "workers"))
    pd.testing.assert_frame_equal(here.images, there.images, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_run_on_a_cluster_whose_lost_machine_loses_no_cell_and_doubles_none(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    hung, events = mixed / "hung", []
    hung.unlink()

    def run(*arguments):
        for event in run_on_ray(*arguments):
            events.append(event)
            yield event

    def lose_the_machine_when_it_hangs(cluster, ended):
        while not ended.wait(0.02):  # nothing sends an event when a file is written
            if machines and hung.exists():
                cluster.remove_node(machines.pop(), allow_graceful=False)

    monkeypatch.setattr(session, "run_on_ray", run)
    monkeypatch.chdir(tmp_path)  # in which the machines start, but not the run
    with running_cluster(["dualclip_lightning.benchmark.run.ray_runner"]) as (cluster, machine):
        machines, ended = [machine], threading.Event()
        (mixed / "lost").write_text(machine.node_id)
        monkeypatch.chdir(mixed)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        watching = threading.Thread(target=lose_the_machine_when_it_hangs, args=(cluster, ended))
        watching.start()
        try:
            assert start("tiny.yaml", "cluster", "--runner", "ray") == 0
        finally:
            ended.set()
            watching.join()
    assert not machines
    here, there = (load_run(mixed / name) for name in ("here", "cluster"))
    cells = sorted([*here.frame["key"], *(path.stem for path in trainings(mixed / "here"))])
    assert sorted(event.cell.key for event in events if event.row is None) == cells  # each has begun once
    assert sorted(event.cell.key for event in events if event.row is not None) == cells
    assert_same_results(*(run.frame[run.frame["kind"] != "auxiliary"] for run in (here, there)))
    pd.testing.assert_frame_equal(here.images, there.images, atol=1e-4)

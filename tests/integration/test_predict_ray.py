"""`dualclip predict --runner ray` on a cluster of two machines, which are processes of this one."""

from __future__ import annotations

import csv
import json
import os
import signal
import time

import pytest
import torch

from dualclip_lightning.cli import main
from dualclip_lightning.images.sources import file_sources
from dualclip_lightning.predict import Detector, run
from dualclip_lightning.predict.output.log import Log
from tests.clusters import running_cluster
from tests.towers import TINY_CLIP, write_image

ARGUMENTS = {"class_name": "plate", "pretrained": str(TINY_CLIP), "batch_size": 2, "device": "cpu"}
OPTIONS = ("--class-name", "plate", "--pretrained", str(TINY_CLIP), "--batch-size", "2", "--device", "cpu", "--maps")

COUNT = 24


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Folder of 24 images and one that cannot be read."""
    folder = tmp_path_factory.mktemp("shots")
    for i in range(COUNT):
        write_image(folder / f"{i:02}.png", seed=i, size=((40, 56), (64, 52), (90, 31))[i % 3])
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """One thread, as each worker of the cluster has: the last digits of scores depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster(one_thread):
    """A cluster of two machines of one core, to which this process is connected."""
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with running_cluster(["dualclip_lightning.predict.shards.ray_runner"]) as (found, machine):
        found.machines = [machine]
        try:
            ray.init(address=found.address, log_to_driver=False)
            yield found
        finally:
            ray.shutdown()


def chunks(sources):
    """Return the numbers of the images that are encoded together."""
    return list(Detector(**ARGUMENTS)._judge.comparison.order(sources).chunks(2))


def predict(shots, out, *more):
    return main(["predict", str(shots), *OPTIONS, "--out", str(out), *more])


def table(path):
    with path.open(newline="", encoding="utf-8") as lines:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(lines)]


def results(out):
    """Return the content of all files of a run but the record and the gallery, without seconds."""
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
    files = [path for folder in ("heatmaps", "maps") for path in sorted((out / folder).rglob("*.*"))]
    files += [out / "failures.csv", out / "threshold.json"]
    return table(out / "scores.csv"), predictions, {path.relative_to(out): path.read_bytes() for path in files}


class PressedInDestructor:
    """An object during whose destruction Ctrl-C is pressed, so that Python drops the exception."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def interrupting(after):
    """Return `Log.append` for a run in which Ctrl-C is pressed after this number of scores."""
    append, scores = Log.append, []

    def append_and_interrupt(log, record):
        append(log, record)
        scores.extend(["name"] if "name" in record else [])
        if len(scores) == after:
            PressedInDestructor()

    return append_and_interrupt


def killing(lost, killed):
    """Return `file_sources` for a run in which the worker of the last images is killed once a machine is lost.

    The worker that is killed is thus never that of the lost machine, whose end would be the only one.
    """

    def sources_of(paths, limit):
        sources = file_sources(paths, limit)
        number = chunks(sources)[-1][0]
        load = sources[number].load

        def die_and_load():
            while not lost.exists():  # the wait ends with the time limit of the test
                time.sleep(0.02)
            if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return load()

        sources[number] = sources[number]._replace(load=die_and_load)
        return sources

    return sources_of


def losing_a_machine(cluster, lost):
    """Return `Log.append` for a run that loses a machine after its first score, while both machines work."""
    ray, append = pytest.importorskip("ray"), Log.append

    def append_and_lose(log, record):
        append(log, record)
        if "name" in record and cluster.machines:
            poll(lambda: ray.available_resources().get("CPU", 0) == 0)
            cluster.remove_node(cluster.machines.pop(), allow_graceful=False)
            lost.touch()

    return append_and_lose


def poll(condition):
    """Wait for a condition of which Ray sends no event; only the time limit of the test ends the wait."""
    while not condition():
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_a_killed_worker_and_a_lost_machine_change_no_byte(
    cluster, shots, tmp_path, monkeypatch, capsys, caplog
):
    assert predict(shots, tmp_path / "one") == 1  # an image cannot be read
    expected = results(tmp_path / "one")
    out = tmp_path / "ray"

    with monkeypatch.context() as patch:
        patch.setattr(run, "file_sources", killing(tmp_path / "lost", tmp_path / "killed"))
        patch.setattr(Log, "append", losing_a_machine(cluster, tmp_path / "lost"))
        patch.setattr(Log, "append", interrupting(after=COUNT - 1))  # which is after both
        assert predict(shots, out, "--runner", "ray", "--devices", "2") == 130
    assert (tmp_path / "killed").exists()
    assert not cluster.machines
    assert caplog.text.count("A worker of the Ray cluster ended; another one continues") >= 2
    assert json.loads((out / "run.json").read_text())["devices"] == ["cpu", "cpu"]
    before = table(out / "scores.csv")
    assert len(before) == COUNT - 1
    scores = {row["path"]: row["score"] for row in expected[0]}
    assert all(scores[row["path"]] == row["score"] for row in before)

    assert predict(shots, out) == 1  # it continues on one machine as on many
    assert f"{COUNT} scored ({COUNT - 1} of them before)" in capsys.readouterr().out
    assert results(out) == expected
    journal = (out / ".work" / "images" / "journal.jsonl").read_text().splitlines()
    assert len(journal) == 1 + COUNT  # the settings, and every image once

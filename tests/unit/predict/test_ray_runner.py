"""The runner of a Ray cluster with a stand-in for Ray, whose workers are objects of this process."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.sources import Failure, file_sources
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.options import main, parse
from dualclip_lightning.predict.shards.ray_room import choose_cluster_workers
from dualclip_lightning.predict.shards.ray_runner import MOST_DEATHS, RayRunner
from dualclip_lightning.predict.shards.worker import DeviceError

ONE_CORE = {"Alive": True, "Resources": {"CPU": 1.0}}


class LostError(Exception):
    """Stand-in for Ray's errors about lost workers."""


class TaskError(LostError):
    """Stand-in for the error around one that a worker raised."""

    def __init__(self, cause):
        self.cause = cause


class Cluster:
    """Stand-in for Ray. `deaths` has, for each worker in the order of their starts, after how many outcomes it dies."""

    def __init__(self, machines=(ONE_CORE, ONE_CORE), deaths=()):
        self.machines, self.deaths = machines, list(deaths)
        self.alive, self.started, self.answers = [], [], {}
        self.exceptions = SimpleNamespace(RayError=LostError, RayTaskError=TaskError)

    def nodes(self):
        return self.machines

    def put(self, value):
        return value

    def remote(self, kind):
        def start(*arguments):
            worker, number = kind(*arguments), len(self.started)
            left = [self.deaths[number] if number < len(self.deaths) else None]

            def request():
                reference = len(self.answers)
                self.answers[reference] = (worker, left)
                return reference

            handle = SimpleNamespace(next_outcome=SimpleNamespace(remote=request))
            self.started.append(arguments)
            self.alive.append(handle)
            return handle

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def kill(self, handle):
        self.alive.remove(handle)

    def wait(self, waiting, num_returns):
        return waiting[:num_returns], waiting[num_returns:]

    def get(self, reference):
        worker, left = self.answers[reference]
        if left[0] == 0:
            raise LostError("the worker is gone")
        if left[0] is not None:
            left[0] -= 1
        try:
            return worker.next_outcome()
        except Exception as error:
            raise TaskError(error) from error


@pytest.fixture(scope="module")
def arguments(tiny_folder):
    return {"class_name": "plate", "pretrained": str(tiny_folder), "batch_size": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def detector(arguments):
    return Detector(**arguments)


@pytest.fixture
def sources(shots, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = [*sorted(shots.rglob("*.png")), tmp_path / "broken.png"]
    return file_sources(paths, MAX_MEGAPIXELS)


@pytest.fixture
def runner(arguments):
    def make(cluster, **changes):
        return RayRunner(cluster, *choose_cluster_workers(cluster, {**arguments, **changes}, cpus=1))

    return make


@pytest.mark.parametrize("deaths", [(), (1,), (0, 2), (2, 1, 0, 1, 0)])
def test_every_image_is_scored_once_as_in_one_process_whichever_worker_dies(runner, detector, sources, deaths):
    cluster = Cluster(deaths=deaths)
    alone = dict(detector.score(sources))
    found = list(runner(cluster)(detector, sources, done={2}))
    assert sorted(position for position, _ in found) == [0, 1, 3, 4, 5, 6, 7]
    for position, outcome in found:
        if isinstance(outcome, Failure):
            assert outcome == alone[position]
        else:
            assert outcome.score == alone[position].score
            assert (outcome.patch_map == alone[position].patch_map).all()
    assert len(cluster.started) == 2 + len(deaths)
    assert not cluster.alive


def test_too_many_deaths_without_a_new_outcome_stop_the_run_and_its_workers(runner, detector, sources):
    cluster = Cluster(machines=[ONE_CORE], deaths=[1, *[0] * MOST_DEATHS])
    with pytest.raises(DeviceError, match=r"ended at the same images: the worker is gone"):
        list(runner(cluster)(detector, sources))
    assert len(cluster.started) == MOST_DEATHS
    assert not cluster.alive


def test_a_run_that_is_left_ends_its_workers(runner, detector, sources):
    cluster = Cluster()
    outcomes = runner(cluster)(detector, sources)
    next(outcomes)
    assert len(cluster.alive) == 2
    outcomes.close()
    assert not cluster.alive


def test_a_machine_that_would_score_differently_is_refused(runner, detector, sources):
    with pytest.raises(ValueError, match=r"scored differently on '.*' .*\(differs: seed\)"):
        list(runner(Cluster(), seed=1)(detector, sources))


def test_a_machine_that_does_not_see_the_images_is_refused(runner, detector, sources, monkeypatch):
    outcomes = runner(Cluster())(detector, sources)
    answers = iter([True] * 3)  # one readable image in each of three folders on the machine of the request
    monkeypatch.setattr("os.access", lambda *_: next(answers, False))
    with pytest.raises(ValueError, match=r"cannot read '.*\.png'. The images must be under the same path on every"):
        next(outcomes)


def test_by_default_every_worker_gets_as_many_cpus_as_this_process_and_none_remains_without(monkeypatch, caplog):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    machine = {"Alive": True, "Resources": {"CPU": 9.0}}
    lost = {"Alive": False, "Resources": {"CPU": 9.0}}
    workers, resources = choose_cluster_workers(Cluster([machine, machine, lost]), {})
    assert (len(workers), *resources) == (4, 4, 0)
    assert {worker.arguments["device"] for worker in workers} == {"cpu"}
    workers, resources = choose_cluster_workers(Cluster([ONE_CORE]), {}, count=3)
    assert (len(workers), *resources) == (3, 1, 0)
    assert "room for 1 of 3 workers" in caplog.text


def test_a_worker_gets_a_gpu_if_there_are_any_and_is_refused_where_there_is_no_room():
    both = {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 2.0}}
    workers, resources = choose_cluster_workers(Cluster([both, ONE_CORE]), {"device": "auto"})
    assert ([worker.arguments["device"] for worker in workers], *resources) == (["cuda", "cuda"], 1, 1)
    with pytest.raises(ValueError, match="No machine of the Ray cluster has 1 CPUs and 1 GPUs"):
        choose_cluster_workers(Cluster(), {"device": "cuda"})
    with pytest.raises(ValueError, match="No machine of the Ray cluster has 2 CPUs and 0 GPUs"):
        choose_cluster_workers(Cluster(), {"device": "cpu"}, cpus=2)
    with pytest.raises(ValueError, match="devices to be at least 1"):
        choose_cluster_workers(Cluster(), {}, count=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--cpus-per-worker", "2"), "--cpus-per-worker goes with --runner ray"),
        (("--runner", "ray", "--device", "cuda:1"), "--runner ray goes with --device auto, cpu or cuda"),
    ],
)
def test_contradictory_options_are_refused(given, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["shots", *given])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_without_ray_a_cluster_is_refused_with_the_remedy(shots, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([str(shots), "--runner", "ray", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "dualclip_lightning[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import pytest

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.listing import find_images
from dualclip_lightning.images.sources import Source, file_sources
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.detector import Share
from dualclip_lightning.predict.devices import DeviceError, Worker, choose_workers, score_on_devices


@pytest.fixture(scope="module")
def arguments(tiny_folder):
    return {"class_name": "plate", "pretrained": str(tiny_folder), "batch_size": 2, "device": "cpu"}


@pytest.fixture
def sources(shots, tmp_path):
    """Seven images, which two processes cannot halve, and one that cannot be read."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    return file_sources(find_images([shots, tmp_path]).paths, MAX_MEGAPIXELS)


@pytest.mark.parametrize("mode", ["pairs", "stream"])
def test_two_processes_score_every_image_once_as_one_process_does(arguments, sources, mode):
    arguments = {**arguments, "references": mode}
    alone = dict(Detector(**arguments).score(sources))
    together = list(score_on_devices(choose_workers(arguments, 2), sources, done={1}))
    assert sorted(position for position, _ in together) == [0, *range(2, 8)]
    for position, outcome in together:
        expected = alone[position]
        assert type(outcome) is type(expected)
        assert outcome.name == expected.name
        if hasattr(expected, "score"):
            assert outcome.score == pytest.approx(expected.score, abs=1e-6)
            assert outcome.patch_map == pytest.approx(expected.patch_map, abs=1e-6)
            assert outcome.references == expected.references


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_shares_are_disjoint_and_complete(arguments, sources, parts):
    detector = Detector(**arguments)
    found = [position for part in range(parts) for position, _ in detector.score(sources, share=Share(part, parts))]
    assert sorted(found) == list(range(8))


def test_what_a_process_raises_is_raised_and_the_others_end(arguments, sources):
    workers = choose_workers(arguments, 2)
    workers[1] = workers[1]._replace(arguments={**arguments, "alpha": 2.0})
    with pytest.raises(ValueError, match="alpha"):
        list(score_on_devices(workers, sources))
    assert not multiprocessing.active_children()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_said(arguments, sources):
    sources = [*sources[:2], Source("deadly", partial(killed))]
    with pytest.raises(DeviceError, match="exit code -9"):
        list(score_on_devices([Worker(arguments, 1, Share())], sources))


def test_cores_are_shared_out_and_a_device_of_ones_own_is_kept(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.get_num_threads", lambda: 5)
    workers = choose_workers({"device": "auto", "seed": 3}, 2)
    assert workers == [Worker({"device": "cpu", "seed": 3}, 2, Share(i, 2)) for i in (0, 1)]
    assert [worker.arguments["device"] for worker in choose_workers({"device": "mps"}, 2)] == ["mps", "mps"]


def test_each_process_has_a_gpu_of_its_own_and_there_are_no_more_than_there_are(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for name in ("auto", "cuda"):
        devices = [worker.arguments["device"] for worker in choose_workers({"device": name}, 2)]
        assert devices == ["cuda:0", "cuda:1"]
    with pytest.raises(ValueError, match="at most 2 devices"):
        choose_workers({"device": "cuda"}, 3)
    with pytest.raises(ValueError, match="at least 1"):
        choose_workers({"device": "cpu"}, 0)

from __future__ import annotations

import pytest

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.sources import file_sources
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.judge import Share
from dualclip_lightning.predict.shards.processes import choose_workers
from dualclip_lightning.predict.shards.worker import Worker


@pytest.fixture(scope="module")
def arguments(tiny_folder):
    return {"class_name": "plate", "pretrained": str(tiny_folder), "batch_size": 2, "device": "cpu"}


@pytest.fixture
def sources(shots, tmp_path):
    """Seven images, which two processes cannot share equally, and one that cannot be read."""
    (tmp_path / "broken.png").write_bytes(b"no image")
    return file_sources(find_images([shots, tmp_path]).paths, MAX_MEGAPIXELS)


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_shares_are_disjoint_and_complete(arguments, sources, parts):
    detector = Detector(**arguments)
    found = [position for part in range(parts) for position, _ in detector.score(sources, share=Share(part, parts))]
    assert sorted(found) == list(range(8))


def test_cores_are_shared_between_processes_and_an_explicit_device_is_kept(monkeypatch):
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

"""Several processes that share the images of a detector."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial

import pytest

from dualclip_lightning.images.finding.listing import find_images
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.sources import Source, file_sources
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.judge import Share
from dualclip_lightning.predict.shards.processes import ProcessRunner, choose_workers
from dualclip_lightning.predict.shards.worker import DeviceError, Worker
from tests.towers import write_image


@pytest.fixture(scope="module")
def arguments(tiny_folder):
    return {"class_name": "plate", "pretrained": str(tiny_folder), "batch_size": 2, "device": "cpu"}


@pytest.fixture
def sources(tmp_path):
    """Seven images, which two processes cannot share equally, and one that cannot be read."""
    for i in range(7):
        write_image(tmp_path / f"{i}.png", seed=i, size=((40, 56), (64, 52), (90, 31))[i % 3])
    (tmp_path / "broken.png").write_bytes(b"no image")
    return file_sources(find_images([tmp_path]).paths, MAX_MEGAPIXELS)


@pytest.mark.slow
def test_two_new_processes_score_every_image_once_as_one_process_does(arguments, sources, prepared):
    assert_as_one_process(arguments, sources)


@pytest.mark.slow
def test_two_processes_share_a_stream(arguments, sources, forks):
    assert_as_one_process({**arguments, "compare_with": "stream"}, sources)


def assert_as_one_process(arguments, sources):
    detector = Detector(**arguments)
    alone = dict(detector.score(sources))
    together = list(ProcessRunner(choose_workers(arguments, 2))(detector, sources, done={1}))
    assert sorted(position for position, _ in together) == [0, *range(2, 8)]
    for position, outcome in together:
        expected = alone[position]
        assert type(outcome) is type(expected)
        assert outcome.name == expected.name
        if hasattr(expected, "score"):
            assert outcome.score == expected.score
            assert (outcome.patch_map == expected.patch_map).all()
            assert outcome.references == expected.references


def test_an_error_in_one_process_is_raised_and_ends_the_others(arguments, sources, forks):
    workers = choose_workers(arguments, 2)
    workers[1] = workers[1]._replace(arguments={**arguments, "alpha": 2.0})
    with pytest.raises(ValueError, match="alpha"):
        list(ProcessRunner(workers)(Detector(**arguments), sources))
    assert not multiprocessing.active_children()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_reported(arguments, sources, forks):
    sources = [*sources[:2], Source("deadly", partial(killed))]
    with pytest.raises(DeviceError, match="exit code -9"):
        list(ProcessRunner([Worker(arguments, 1, Share())])(Detector(**arguments), sources))

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial

import pytest
import torch

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input.geometry import Geometry, plan_views
from dualclip_lightning.predict.input.reader import EncodedImage, PatchSet, Prepared
from dualclip_lightning.predict.input.working import WorkingSet

PLAN = plan_views((16, 16), Geometry(), (16, 16), (16, 16))
BROKEN = {3, 4}


class Counting:
    """Stand-in for an encoder that counts how often each image is read, and in which threads."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.threads: set[str] = set()
        self.batches: list[int] = []
        self.while_reading = lambda: None

    def source(self, number: int) -> Source:
        def load():
            self.read[str(number)] += 1
            self.threads.add(threading.current_thread().name)
            self.while_reading()
            if number in BROKEN:
                msg = "it is broken."
                raise ImageError(msg)
            return number

        return Source(str(number), load)

    def prepare(self, name: str, _picture: int) -> Prepared:
        return Prepared(name, PLAN, (), torch.zeros(1), None)

    def encode(self, images) -> list[EncodedImage]:
        self.batches.append(len(images))
        nothing = (torch.zeros(1, 1),), torch.zeros(1, 2), torch.zeros(1, 1)
        return [EncodedImage(PLAN, (), PatchSet(p.name, *nothing), lambda: iter(())) for p in images]


@pytest.fixture
def counting():
    return Counting()


def working_set(counting: Counting, keep: int, chunks=()) -> WorkingSet:
    return WorkingSet([counting.source(i) for i in range(12)], counting, keep, chunks)


def test_images_are_read_once_while_they_are_kept_and_again_after_they_were_dropped(counting):
    with working_set(counting, keep=2) as working:
        for position in (0, 1, 0, 1, 2, 0):
            assert working[position].as_reference.name == str(position)
    assert counting.read == {"0": 2, "1": 1, "2": 1}


def test_the_number_of_images_in_memory_is_limited(counting):
    with working_set(counting, keep=3) as working:
        for position in range(12):
            assert isinstance(working[position], Failure if position in BROKEN else EncodedImage)
            assert len(working._images) <= 3


def test_a_chunk_is_read_by_several_threads_and_encoded_at_once(counting):
    counting.while_reading = threading.Barrier(2).wait  # each waits for a second reading thread
    with working_set(counting, 4, [[0, 1, 2, 5, 6, 7]]) as working:
        assert [working[p].as_reference.name for p in (0, 1, 2, 5, 6, 7)] == list("012567")
    assert counting.batches == [6]
    assert len(counting.threads) > 1


@pytest.mark.parametrize("first", [0, 2])
def test_an_image_is_always_encoded_with_the_same_others(counting, first):
    with working_set(counting, 3, [[0, 1, 2], [3, 4], [5, 6]]) as working:
        for position in (first, 5, 6, 1):  # the second chunk displaces a part of the first one
            assert working[position].as_reference.name == str(position)
    assert counting.batches == [3, 2, 3]


def test_a_failure_is_remembered(counting):
    with working_set(counting, keep=2) as working:
        assert [working[3], working[3]] == [Failure("3", "it is broken.")] * 2
    assert counting.read == {"3": 1}


def test_the_first_readable_candidates_are_used(counting):
    with working_set(counting, keep=4) as working:
        assert [s.name for s in working.first_readable(iter([3, 1, 4, 2, 0]), 2)] == ["1", "2"]
        assert [s.name for s in working.first_readable(iter([3, 4, 5]), 2)] == ["5"]
    assert "0" not in counting.read


def test_time_is_counted_once_for_each_image(counting):
    counting.while_reading = partial(time.sleep, 0.01)
    with working_set(counting, keep=4) as working:
        assert isinstance(working[0], EncodedImage)
        with working.timed(0):
            time.sleep(0.02)
        assert working.seconds(0) >= 0.03
        assert working.seconds(0) == 0


def test_an_error_ends_the_threads(counting):
    def interrupted() -> None:
        with working_set(counting, keep=4) as working:
            assert working[0]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [thread for thread in threading.enumerate() if thread.name in counting.threads]

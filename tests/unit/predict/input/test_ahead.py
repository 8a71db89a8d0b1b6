"""The next chunk is read while one is encoded and used: no more, no earlier, and with the same results."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.sources import Failure, Source
from dualclip_lightning.predict.input import ahead, working
from dualclip_lightning.predict.input.ahead import READERS, ReadAhead
from dualclip_lightning.predict.input.geometry import Geometry, plan_views
from dualclip_lightning.predict.input.reader import EncodedImage, PatchSet, Prepared
from dualclip_lightning.predict.input.working import WorkingSet

PLAN = plan_views((16, 16), Geometry(), (16, 16), (16, 16))
CHUNKS = [[0, 1], [2, 3], [4, 5], [6, 7]]
LONG = 60
"""Seconds after which a test that waits in vain fails."""


class Line:
    """Stand-in for a reader of images, of which some cannot be read, and which says what it has read and encoded."""

    def __init__(self) -> None:
        self.errors: dict[int, BaseException] = {}
        self.begun: Counter[int] = Counter()
        self.reading: dict[int, threading.Event] = defaultdict(threading.Event)
        self.encoded: list[list[str]] = []
        self.while_reading = lambda _number: None
        self.while_encoding = lambda: None

    def source(self, number: int) -> Source:
        def load() -> int:
            self.begun[number] += 1
            self.reading[number].set()
            self.while_reading(number)
            if number in self.errors:
                raise self.errors[number]
            return number

        return Source(str(number), load)

    def prepare(self, name: str, _picture: int) -> Prepared:
        return Prepared(name, PLAN, (), torch.zeros(1), None)

    def encode(self, images: list[Prepared]) -> list[EncodedImage]:
        self.encoded.append([image.name for image in images])
        self.while_encoding()
        nothing = (torch.zeros(1, 1),), torch.zeros(1, 2), torch.zeros(1, 1)
        return [EncodedImage(PLAN, (), PatchSet(image.name, *nothing), lambda: iter(())) for image in images]

    def working_set(self, chunks=CHUNKS, upcoming=CHUNKS, keep=4) -> WorkingSet:
        return WorkingSet([self.source(i) for i in range(40)], self, keep, chunks, upcoming)


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def nothing_is_cancelled(monkeypatch):
    """Let threads finish all that was begun at the end, so that what they have read does not depend on their speed."""
    monkeypatch.setattr(ReadAhead, "close", lambda self: self._pool.shutdown(wait=True))


def test_the_next_chunk_is_read_while_one_is_encoded(line):
    following = iter([2, 4, 6])

    def wait_for_the_next() -> None:
        number = next(following, None)
        assert number is None or line.reading[number].wait(LONG)

    line.while_encoding = wait_for_the_next
    with line.working_set() as images:
        for position in range(8):
            assert images[position].as_reference.name == str(position)
    assert line.encoded == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"]]


@pytest.mark.usefixtures("nothing_is_cancelled")
@pytest.mark.parametrize("last", [0, 1, 3, 5, 7])
def test_at_most_one_chunk_is_read_ahead(line, last):
    with line.working_set() as images:
        for position in range(last + 1):
            assert images[position]
    assert sorted(line.begun) == list(range(min(8, 2 * (last // 2) + 4)))


@pytest.mark.usefixtures("nothing_is_cancelled")
def test_a_chunk_that_is_no_upcoming_one_is_not_read_ahead_and_begins_no_other(line):
    with line.working_set(upcoming=[CHUNKS[1], CHUNKS[3], [10, 11]]) as images:
        assert images[2]
        assert images[0]  # such as an earlier image of a stream, as a reference
        assert images[8]  # an image without a chunk
        assert sorted(line.begun) == [0, 1, 2, 3, 6, 7, 8]
    assert set(line.begun.values()) == {1}


@pytest.mark.usefixtures("nothing_is_cancelled")
def test_no_image_is_read_twice_if_a_later_one_is_needed_before_its_turn(line):
    line.errors = {1: ImageError("it is broken.")}
    with line.working_set(keep=8) as images:
        for position in (0, 4, 1, 6, 2, 3, 4, 5, 6, 7):  # images of later groups take the place of a broken partner
            assert images[position]
    assert line.begun == Counter(range(8))
    assert line.encoded == [["0"], ["4", "5"], ["6", "7"], ["2", "3"]]


@pytest.mark.usefixtures("nothing_is_cancelled")
def test_an_image_that_was_dropped_is_read_again_but_none_is_read_ahead_for_it(line):
    with line.working_set(keep=2) as images:
        for position in (*range(8), 0):
            assert images[position]
    assert line.begun == Counter([*range(8), 0, 1])


@pytest.mark.parametrize("upcoming", [(), CHUNKS], ids=["alone", "ahead"])
def test_images_are_encoded_with_the_same_others_with_and_without_reading_ahead(line, upcoming):
    line.errors = {3: ImageError("it is broken."), 4: ImageError("it is broken."), 5: ImageError("it is broken.")}
    with line.working_set(upcoming=upcoming) as images:
        found = [images[position] for position in (0, 1, 2, 3, 4, 5, 6, 7, 0)]
    assert [each.name for each in found if isinstance(each, Failure)] == ["3", "4", "5"]
    assert line.encoded == [["0", "1"], ["2"], [], ["6", "7"], ["0", "1"]]


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt(), OSError("a bug")], ids=repr)
def test_an_error_while_reading_ahead_is_raised_when_the_image_is_needed(line, error):
    line.errors = {3: error}
    with line.working_set() as images:
        assert images[0].as_reference.name == "0"
        assert line.reading[3].wait(LONG)
        assert images[1].as_reference.name == "1"
        with pytest.raises(type(error)) as raised:
            images[2]
    assert raised.value is error
    assert line.begun == Counter(range(4))


def test_an_image_that_cannot_be_used_is_a_failure_at_its_place(line):
    line.errors = {2: ImageError("it is broken.")}
    with line.working_set() as images:
        assert images[0]
        assert line.reading[2].wait(LONG)
        assert images[2] == images[2] == Failure("2", "it is broken.")
        assert images[3].as_reference.name == "3"
    assert line.begun[2] == 1


def test_leaving_waits_only_for_images_that_are_being_read(line, monkeypatch):
    left = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def shutdown_and_go_on(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, wait=False, cancel_futures=cancel_futures)
        left.set()
        shutdown(pool, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown_and_go_on)
    following = list(range(1, 21))
    line.while_reading = lambda number: number == 0 or left.wait(LONG)

    def interrupted() -> None:
        with line.working_set([[0], following], [[0], following]) as images:
            assert images[0]
            assert all(line.reading[number].wait(LONG) for number in following[:READERS])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(line.begun) == [0, *following[:READERS]]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_the_seconds_of_an_image_are_those_of_reading_and_encoding_it_without_waiting(line, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(ahead, "time", clock)
    monkeypatch.setattr(working, "time", clock)

    def take(seconds: float) -> None:
        now[0] += seconds

    def encode() -> None:
        for begun in images._ahead._begun.values():
            begun.result(LONG)
        take(5)

    line.while_reading = lambda _number: take(3)
    line.while_encoding = encode
    with line.working_set([[0], [1]], [[0], [1]]) as images:
        assert images[0]
        take(100)  # the image that was read ahead waits for its turn
        assert images[1]
        assert images.seconds(1) == 8

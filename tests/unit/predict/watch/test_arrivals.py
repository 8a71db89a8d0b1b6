from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from dualclip_lightning.predict.output.journal import file_stamp
from dualclip_lightning.predict.watch.arrivals import GRANULARITY, Arrivals

START = 1_000_000.0


@pytest.fixture
def place(tmp_path):
    """A folder whose arrivals are polled by a clock that moves by a second per poll, and its known files."""
    known, time = {}, [START]

    def poll() -> list[str]:
        time[0] += 1
        return [path.name for path in arrivals.poll()]

    arrivals = Arrivals(tmp_path, known, lambda path: path.name == "left_out.png", lambda: time[0])
    return SimpleNamespace(folder=tmp_path, known=known, arrivals=arrivals, poll=poll)


def write(path, content=b"image", modified=START):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (modified, modified))


def test_a_file_is_complete_when_two_polls_find_the_same_state(place):
    write(place.folder / "a.png")
    assert place.poll() == []
    assert place.poll() == ["a.png"]


def test_a_file_that_grows_or_is_written_over_is_not_complete(place):
    path = place.folder / "a.png"
    for content, modified in ((b"i", START), (b"im", START), (b"im", START + 1), (b"in", START + 2)):
        write(path, content, modified)
        assert place.poll() == []
        assert place.arrivals.polls(path) == 1
    assert place.poll() == ["a.png"]
    assert place.arrivals.polls(path) == 2


@pytest.mark.parametrize(("age", "complete"), [(GRANULARITY + 0.5, True), (GRANULARITY - 0.5, False)])
def test_a_file_that_is_older_than_the_poll_that_did_not_find_it_was_renamed_into_place(place, age, complete):
    place.poll()
    write(place.folder / "a.png", modified=START + 1 - age)
    assert place.poll() == ["a.png"] * complete


def test_at_the_first_poll_even_an_old_file_may_be_incomplete(place):
    write(place.folder / "a.png", modified=START - 1000)
    assert place.poll() == []


def test_an_old_file_that_changes_is_not_taken_for_one_renamed_into_place(place):
    write(place.folder / "a.png", b"part", modified=START - 1000)
    place.poll()
    write(place.folder / "a.png", b"longer", modified=START - 1000)
    assert place.poll() == []


def test_complete_files_come_in_the_order_of_their_modification(place):
    for name, modified in (("a.png", 3), ("b.png", 1), ("c.png", 2), ("d.png", 2)):
        write(place.folder / name, modified=START + modified)
    place.poll()
    assert place.poll() == ["b.png", "c.png", "d.png", "a.png"]


def test_a_known_file_arrives_again_only_in_another_state(place):
    path = place.folder / "a.png"
    write(path)
    place.known[str(path)] = file_stamp(path)
    assert [place.poll() for _ in range(3)] == [[], [], []]
    assert place.arrivals.waiting == []
    write(path, b"another")
    place.poll()
    assert place.poll() == ["a.png"]


def test_a_file_that_is_done_does_not_wait(place):
    write(place.folder / "a.png")
    place.poll()
    assert place.arrivals.waiting == [str(place.folder / "a.png")]
    place.arrivals.done(place.folder / "a.png")
    assert place.arrivals.waiting == []


def test_subfolders_are_polled_and_other_files_are_not(place):
    for name in ("below/a.png", "notes.txt", "left_out.png", ".a.png.part", ".hidden.png", "a.png.part"):
        write(place.folder / name)
    place.poll()
    assert place.poll() == ["a.png"]


def test_a_folder_that_disappears_and_returns_is_reported_and_gives_its_files_again(place):
    path = place.folder / "a.png"
    write(path)
    place.poll()
    place.arrivals.folder = place.folder / "gone"
    assert place.poll() == []
    assert list(place.arrivals.unreadable) == [str(place.folder / "gone")]
    place.arrivals.folder = place.folder
    place.poll()
    assert place.poll() == ["a.png"]
    assert place.arrivals.unreadable == {}

from __future__ import annotations

import errno
import json

import numpy as np
import pytest

from dualclip_lightning.predict import Prediction
from dualclip_lightning.predict.output.journal import Journal, file_stamp
from dualclip_lightning.predict.output.log import Log

SETTINGS = {"alpha": 0.5, "size": (1, 2)}
STAMP = (10, 20)


def prediction(name: str, value: float = 0.25, **changes) -> Prediction:
    score_map = np.full((2, 3), value, np.float32)
    return Prediction(name, value, score_map, (40, 60), ("other.png",), "squash", 0.1, ("alpha dropped",), **changes)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / ".work" / "images"


def written(folder, *names: str) -> None:
    with Journal(folder, SETTINGS) as journal:
        for name in names:
            journal.add(prediction(name), STAMP)


@pytest.mark.parametrize("name", ["a.png", "new\nline.png", "Ünï 測試.png", "not_utf8_\udcff.png", '"quoted\\'])
def test_what_was_added_is_known_to_the_next_run(folder, name):
    written(folder, name)
    with Journal(folder, SETTINGS) as journal:
        entry = journal.entries[name]
        assert (entry.score, entry.peak, entry.size, entry.stamp) == (0.25, 0.25, (40, 60), STAMP)
        assert (entry.references, entry.notes, entry.geometry) == (("other.png",), ("alpha dropped",), "squash")
        assert journal.knows(name, STAMP)
        assert not journal.knows("other.png", STAMP)
        np.testing.assert_array_equal(journal.patch_map(name), prediction(name).patch_map)


def test_a_score_keeps_every_digit(folder):
    score = float(np.nextafter(np.float32(1 / 3), 1))
    with Journal(folder, SETTINGS) as journal:
        journal.add(prediction("a.png", score), STAMP)
    with Journal(folder, SETTINGS) as journal:
        assert journal.entries["a.png"].score == score


@pytest.mark.slow
def test_a_kill_at_any_point_of_a_write_leaves_complete_entries(folder):
    written(folder, "a.png", "b.png")
    log = folder / "journal.jsonl"
    content = log.read_bytes()
    for length in range(len(content) + 1):
        log.write_bytes(content[:length])
        with Journal(folder, SETTINGS) as journal:
            assert set(journal.entries) <= {"a.png", "b.png"}
            assert len(journal.entries) == max(0, content[:length].count(b"\n") - 1) + (length in ends(content))
            journal.add(prediction("c.png"), STAMP)
        with Journal(folder, SETTINGS) as journal:
            assert journal.knows("c.png", STAMP)


def ends(content: bytes) -> set[int]:
    """Return the lengths at which a line lacks only its newline."""
    places = [i for i, byte in enumerate(content) if byte == ord("\n")]
    return set(places[1:])


def test_a_map_without_its_line_does_not_count(folder):
    written(folder, "a.png", "b.png")
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    (folder / "journal.jsonl").write_text("".join(lines[:-1]))
    with Journal(folder, SETTINGS) as journal:
        assert journal.knows("a.png", STAMP)
        assert not journal.knows("b.png", STAMP)


def test_a_line_without_its_map_does_not_count(folder):
    written(folder, "a.png")
    next(folder.rglob("*.npy")).unlink()
    with Journal(folder, SETTINGS) as journal:
        assert not journal.knows("a.png", STAMP)


def test_another_state_of_a_file_does_not_count(folder, tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    before = file_stamp(image)
    with Journal(folder, SETTINGS) as journal:
        journal.add(prediction(str(image)), before)
        image.write_bytes(b"other")
        assert journal.knows(str(image), before)
        assert not journal.knows(str(image), file_stamp(image))
        image.unlink()
        assert file_stamp(image) is None
        assert not journal.knows(str(image), None)
    assert file_stamp("a\0b") is None


def test_the_later_of_two_entries_counts(folder):
    with Journal(folder, SETTINGS) as journal:
        journal.add(prediction("a.png", 0.25), STAMP)
        journal.add(prediction("a.png", 0.75), (11, 20))
    with Journal(folder, SETTINGS) as journal:
        assert journal.entries["a.png"].score == journal.patch_map("a.png").max() == 0.75


def test_other_settings_are_refused_by_name_and_discarded_when_asked(folder):
    written(folder, "a.png")
    with pytest.raises(ValueError, match=r"other settings \(changed: alpha\).*--fresh"):
        Journal(folder, SETTINGS | {"alpha": 1})
    with pytest.raises(ValueError, match=r"\(changed: beta, size\)"):
        Journal(folder, {"alpha": 0.5, "beta": None})
    with Journal(folder, SETTINGS | {"alpha": 1}, fresh=True) as journal:
        assert journal.entries == {}
    with Journal(folder, SETTINGS | {"alpha": 1}) as journal:
        assert journal.entries == {}


def test_two_runs_into_one_folder_are_refused_until_the_first_ends(folder):
    with Journal(folder, SETTINGS), pytest.raises(ValueError, match="Another run is writing"):
        Journal(folder, SETTINGS)
    with Journal(folder, SETTINGS) as journal:
        assert journal.entries == {}


@pytest.mark.parametrize(
    "line",
    ["[]", "1", "null", '{"name": "a.png"}', '{"size": 3, "stamp": 1}', "\xff", "{}", "",
     '{"name": "a.png", "size": [1], "stamp": [1, 2], "references": [], "notes": []}'],
)  # fmt: skip
def test_unknown_lines_are_skipped(folder, line):
    written(folder, "a.png")
    with (folder / "journal.jsonl").open("ab") as log:
        log.write(line.encode("latin-1") + b"\n")
    with Journal(folder, SETTINGS) as journal:
        assert list(journal.entries) == ["a.png"]


class Full:
    """A file on a disk that has `room` bytes left."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, content: bytes) -> int:
        self.room, fits = max(0, self.room - len(content)), min(self.room, len(content))
        return self.file.write(content[:fits])

    def close(self) -> None:
        self.file.close()


def test_a_full_disk_is_an_error_and_the_partial_line_is_skipped(tmp_path):
    with Log(tmp_path / "log.jsonl") as log:
        log.append({"n": 1})
        disk, log._file = log._file, Full(log._file, 5)
        with pytest.raises(OSError, match="No space left") as error:
            log.append({"n": 2})
        assert error.value.errno == errno.ENOSPC
        log._file = disk
        log.append({"n": 3})
        assert list(log) == [{"n": 1}, {"n": 3}]
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1]) == {"n": 3}

from __future__ import annotations

import os

import pytest

from dualclip_lightning.predict.output.tables import COLUMNS
from tests.unit.predict.watch.conftest import Script, nothing

PARTIAL = b"\x89PNG\r\n\x1a\n"


def names(rows) -> list[str]:
    return [os.path.basename(row["path"]) for row in rows]  # noqa: PTH119


def test_files_are_scored_in_order_and_appended_to_both_tables(line):
    for i, level in enumerate((20, 200)):
        path = line.write(f"{i}.png", level)
        os.utime(path, (1000 - i, 1000 - i))
    line.run()
    line.write("below/2.png", 30)
    line.run()
    assert names(line.rows) == names(line.facts) == ["1.png", "0.png", "2.png"]
    assert [row["decision"] for row in line.rows] == ["anomalous", "normal", "normal"]
    assert [row["number"] for row in line.rows] == ["1", "2", "3"]
    assert [float(row["score"]) for row in line.rows] == pytest.approx([200 / 255, 20 / 255, 30 / 255], abs=1e-6)
    assert [len(facts["regions"]) for facts in line.facts] == [1, 0, 0]
    for row, facts in zip(line.rows, line.facts, strict=True):
        assert tuple(row) == (*COLUMNS, "number", "time", "moved_to")
        assert set(facts) - set(row) == {"regions"}
        assert row["time"] == facts["time"]


def test_a_new_start_scores_nothing_again_but_a_new_image_under_an_old_name(line):
    line.write("0.png", 20)
    line.run()
    line.run()
    assert len(line.rows) == 1
    os.utime(line.write("0.png", 90), (7, 7))
    line.run()
    assert [row["score"] for row in line.rows] == [f"{level / 255:.6f}" for level in (20, 90)]


def test_files_with_a_decision_are_moved_under_a_free_name(line):
    for level in (20, 200, 30):
        line.write("0.png", level)
        line.write("below/1.png", level)
        line.run(move=True)
    assert line.files == {
        "anomalous/0.png": 200, "anomalous/below/1.png": 200, "ok/0.png": 20, "ok/0-2.png": 30,
        "ok/below/1.png": 20, "ok/below/1-2.png": 30,
    }  # fmt: skip
    assert len(line.rows) == 6
    assert {row["moved_to"] for row in line.rows} == {str(line.folder / name) for name in line.files}
    assert [facts["moved_to"] for facts in line.facts] == [row["moved_to"] for row in line.rows]


def test_a_name_that_is_not_utf8_is_moved_and_shown_with_escapes(line):
    try:
        line.write(os.fsdecode(b"not_utf8_\xff.png"), 20)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    for _ in range(2):
        line.run(move=True)
    shown = "not_utf8_\\udcff.png"
    assert names(line.rows) == names(line.facts) == [shown]
    assert line.rows[0]["moved_to"] == line.facts[0]["moved_to"] == f"{line.folder}/ok/{shown}"
    assert list(line.files) == [os.fsdecode(b"ok/not_utf8_\xff.png")]


def test_without_a_threshold_there_is_no_decision_and_no_move(line):
    line.threshold = None
    line.write("0.png")
    station = line.run(move=True)
    assert (station.scored, list(line.files), line.rows[0]["decision"]) == (1, ["0.png"], "")


def test_a_partial_file_is_tried_again_until_it_is_whole(line):
    path = line.folder / "0.png"
    path.write_bytes(PARTIAL)
    waits = [nothing, nothing, lambda: line.write("0.png"), nothing, nothing]
    station = line.run(*waits, patience=10)
    assert (station.scored, station.failed, line.warned, line.table("failures.csv")) == (1, 0, [], [])


def test_an_unreadable_file_is_reported_once_and_again_only_after_it_has_changed(line):
    path = line.folder / "0.png"
    path.write_bytes(PARTIAL)
    line.write("1.png")
    waits = [nothing] * 8
    station = line.run(*waits, patience=3)
    assert (station.scored, station.failed) == (1, 1)
    (sentence,) = line.warned
    assert sentence.startswith(f"Cannot use '{path}': ")
    assert sentence.endswith(" It is tried again if it changes.")
    line.run(*waits)
    assert len(line.warned) == len(line.table("failures.csv")) == 1
    path.write_bytes(PARTIAL + b"more")
    line.run(*waits)
    assert names(line.table("failures.csv")) == ["0.png", "0.png"]
    line.write("0.png")
    line.run(*waits)
    assert names(line.rows) == ["1.png", "0.png"]


def test_patience_counts_polls(line):
    (line.folder / "0.png").write_bytes(PARTIAL)
    assert line.run(nothing, nothing, patience=4).failed == 0
    assert line.run(*[nothing] * 3, patience=4).failed == 1


def test_once_leaves_out_a_file_that_keeps_changing(line):
    line.write("0.png")
    path, size = line.folder / "1.png", iter(range(1, 100))

    def grow() -> None:
        path.write_bytes(PARTIAL + b"x" * next(size))

    grow()
    station = line.run(script=Script([grow] * 50), patience=4)
    assert (station.scored, station.failed) == (1, 1)
    assert line.warned == [f"'{path}' is still being written and was left out."]


def test_a_file_that_changes_while_it_is_read_is_not_taken(line):
    path = line.write("0.png", 20)
    left = [200]

    def change() -> None:
        if left:
            line.write("0.png", left.pop())
            os.utime(path, (5, 5))

    line.after_reading = change
    line.run()
    assert [row["score"] for row in line.rows] == [f"{200 / 255:.6f}"]


def test_a_stop_takes_effect_after_the_image_in_work(line):
    for i in range(3):
        line.write(f"{i}.png")
    script = Script([nothing] * 5)

    def ask() -> None:
        script.asked = True

    line.after_reading = ask
    assert line.run(script=script).scored == len(line.rows) == 1


def test_a_folder_that_cannot_be_read_is_reported_once_per_outage(line):
    away = line.folder.with_name("away")
    leave, come = (lambda: line.folder.rename(away)), (lambda: away.rename(line.folder))
    line.write("0.png")
    line.run(leave, nothing, come, nothing, leave, come, nothing)
    assert len(line.warned) == 2
    assert all(text.startswith(f"Cannot read '{line.folder}': ") for text in line.warned)
    assert len(line.rows) == 1

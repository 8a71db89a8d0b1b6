from __future__ import annotations

import pytest

from dualclip_lightning.predict.output.journal import file_stamp
from dualclip_lightning.predict.watch.files import complete_line, free_path, move_durably, plan_line
from dualclip_lightning.predict.watch.journal import WatchJournal, check_place


@pytest.mark.parametrize(
    ("before", "planned"),
    [(None, (0, "head\nrow\n")), ("", (0, "head\nrow\n")), ("head\n", (5, "row\n")), ("head\na", (6, "\nrow\n"))],
)
def test_a_line_follows_the_header_and_complete_lines(tmp_path, before, planned):
    path = tmp_path / "table.csv"
    if before is not None:
        path.write_text(before)
    assert plan_line(path, "head\n", "row\n") == planned
    complete_line(path, *planned)
    assert path.read_text() == (before or "") + planned[1]


@pytest.mark.parametrize("written", range(5))
def test_only_the_missing_part_of_a_line_is_written(tmp_path, written):
    path = tmp_path / "table.csv"
    path.write_text("head\n" + "row\n"[:written])
    complete_line(path, 5, "row\n")
    assert path.read_text() == "head\nrow\n"


@pytest.mark.parametrize(("others", "after"), [("note", "note\nrow\n"), ("note\nrow\nx", "note\nrow\nx")])
def test_what_another_program_wrote_stays(tmp_path, others, after):
    path = tmp_path / "table.csv"
    path.write_text(f"head\n{others}")
    complete_line(path, 5, "row\n")
    assert path.read_text() == f"head\n{after}"


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    for name in ("a.png", "a-2.png"):
        (tmp_path / name).touch()
    assert free_path(tmp_path / "a.png").name == "a-3.png"
    assert free_path(tmp_path / "b.png").name == "b.png"


def test_a_move_neither_overwrites_nor_moves_another_file_of_the_same_name(tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "ok" / "a.png"
    source.write_text("image")
    stamp = file_stamp(source)
    assert stamp is not None
    move_durably(source, target, (stamp[0] + 1, stamp[1]))
    assert source.exists()
    move_durably(source, target, stamp)
    move_durably(source, target, stamp)
    assert (source.exists(), target.read_text()) == (False, "image")
    source.write_text("other")
    again = file_stamp(source)
    assert again is not None
    with pytest.raises(FileExistsError):
        move_durably(source, target, again)
    assert (source.read_text(), target.read_text()) == ("other", "image")


def test_results_of_others_are_not_overwritten(tmp_path):
    check_place(tmp_path)
    check_place(tmp_path / "new")
    with WatchJournal(tmp_path / "out", {}):
        check_place(tmp_path / "out")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.csv").touch()
    for name in ("run", "run/scores.csv"):
        with pytest.raises(ValueError, match="something other than results of dualclip watch"):
            check_place(tmp_path / name)


def test_other_settings_and_a_second_process_are_refused(tmp_path):
    with WatchJournal(tmp_path, {"seed": 0}), pytest.raises(ValueError, match="Another process is writing to"):
        WatchJournal(tmp_path, {"seed": 0})
    with pytest.raises(ValueError, match=r"other settings \(changed: seed\)\. Choose another --out"):
        WatchJournal(tmp_path, {"seed": 1})
    with WatchJournal(tmp_path, {"seed": 0}) as journal:
        assert journal.known == {}

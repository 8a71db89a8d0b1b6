"""A kill at every point at which a station changes a file, and the start after it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from dualclip_lightning.predict.output.log import Log
from dualclip_lightning.predict.watch import files
from tests.unit.predict.watch.conftest import Line

LEVELS = {"0.png": 20, "1.png": 200, "below/2.png": 30}


class Killed(BaseException):
    """The end of the process, which no code handles."""


def die_at(monkeypatch, place: int, phase: str) -> None:
    """Let the process die before, in the middle of, or after its nth change of a file."""
    counter = count()

    def guard(change, part):
        def call(self, argument):
            here = next(counter) == place
            if here and phase == "before":
                raise Killed
            if here and phase == "within":
                part(self, argument)
                raise Killed
            change(self, argument)
            if here:
                raise Killed

        return call

    def half_a_line(log, record):
        write, log._file = log._file, HalfFile(log._file)
        try:
            append(log, record)
        finally:
            log._file = write

    append, rename, append_durably = Log.append, Path.rename, files.append_durably
    monkeypatch.setattr(Log, "append", guard(append, half_a_line))
    monkeypatch.setattr(Path, "rename", guard(rename, lambda *_: None))
    half = lambda path, content: append_durably(path, content[: len(content) // 2])  # noqa: E731
    monkeypatch.setattr(files, "append_durably", guard(append_durably, half))


class HalfFile:
    """A file that takes only half of what is written, and does not say so."""

    def __init__(self, file) -> None:
        self.file = file

    def write(self, content: bytes) -> int:
        self.file.write(content[: len(content) // 2])
        return len(content)

    def fileno(self) -> int:
        return self.file.fileno()


@pytest.mark.parametrize(("phase", "move"), [("before", True), ("within", True), ("after", True), ("within", False)])
@pytest.mark.slow
def test_every_image_is_in_both_tables_once_and_at_one_place(tmp_path, phase, move):
    for place in count():
        line = Line(tmp_path / f"{place}" / "in", tmp_path / f"{place}" / "out")
        for name, level in LEVELS.items():
            line.write(name, level)
        (line.folder / "broken.png").write_bytes(b"broken")
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, place, phase)
            try:
                line.run(move=move)
                break
            except Killed:
                pass
        line.run(move=move)
        found = {str(Path(row["path"]).relative_to(line.folder)): row["score"] for row in line.rows}
        assert found == {name: f"{level / 255:.6f}" for name, level in LEVELS.items()}
        assert len(line.rows) == len(line.facts) == len(LEVELS)
        assert [row["number"] for row in line.rows] == [str(facts["number"]) for facts in line.facts]
        assert len(line.table("failures.csv")) == 1
        (line.folder / "broken.png").unlink()
        moved = {("anomalous/" if level > 127 else "ok/") + name: level for name, level in LEVELS.items()}
        assert line.files == (moved if move else LEVELS)
    # header and four steps with two records each, five table lines more than the steps, and the moves
    assert place == 1 + 4 * 2 + 3 * 2 + 1 + 3 * move


def test_a_disk_that_is_full_in_the_middle_of_a_line_is_repaired_at_the_next_start(line, monkeypatch):
    line.write("0.png")

    def fill(path, content):
        path.open("ab").write(content[:5])
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_durably", fill)
        with pytest.raises(OSError, match="No space left"):
            line.run()
    line.run()
    assert len(line.rows) == len(line.facts) == 1

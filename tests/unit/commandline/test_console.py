"""Consoles that cannot display a character get a substitute, and files are written before anything is printed."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from dualclip_lightning import cli
from dualclip_lightning.benchmark import command
from dualclip_lightning.benchmark.report import figures
from dualclip_lightning.commandline.console import show_what_it_can
from tests.benchmark_runs import cell, failed, write_run


@pytest.fixture
def screen(monkeypatch):
    """Function that replaces standard output and error by those of a console, and returns the buffer of the output."""

    def standard(encoding):
        for name in ("stderr", "stdout"):
            stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)
            monkeypatch.setattr(sys, name, stream)
        return stream.buffer

    return standard


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", b"3 +/- 1* 2** e ?? -"), ("cp1252", "3 ± 1† 2‡ é ?? -".encode("cp1252")), ("utf-8", None)],
)
def test_characters_that_a_console_lacks_are_replaced(screen, encoding, shown):
    buffer = screen(encoding)
    show_what_it_can()
    print("3 ± 1† 2‡ é 金\udc80 ─")
    printed = buffer.getvalue().strip()
    assert printed == ("3 ± 1† 2‡ é 金? ─".encode() if shown is None else shown)


def write_runs(folder, **runs):
    for name, value in runs.items():
        cells = [cell("jöint", "x", seed, metrics=value + seed / 100) for seed in (0, 1)]
        write_run(folder / name, [*cells, failed(method="jöint", category="金")])


def test_a_command_runs_on_an_ascii_console_and_its_files_are_utf_8(tmp_path, screen):
    write_runs(tmp_path, a=0.5, b=0.7)
    buffer = screen("ascii")
    assert not cli.main(["compare", *(str(tmp_path / name) for name in "ab"), "--out", str(tmp_path / "out")])
    assert b"joint" in buffer.getvalue()
    assert "jöint" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_table_with_spreads_and_gaps_is_shown_on_an_ascii_console(tmp_path, screen):
    write_runs(tmp_path, a=0.5)
    buffer = screen("ascii")
    show_what_it_can()
    command._publish(tmp_path / "a", Console(file=sys.stdout, width=200), report=False)
    assert b"50.5* +/- 0.7" in buffer.getvalue()
    assert "50.5† ± 0.7" in (tmp_path / "a" / "tables" / "demo.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_tables_and_report_are_written_before_anything_is_shown(tmp_path, screen, monkeypatch):
    monkeypatch.setattr(figures, "plot_curves", lambda _: figures.address(b"", "svg"))  # most of its time
    write_runs(tmp_path, a=0.5)
    screen("ascii")  # without the error handler of this package
    with pytest.raises(UnicodeEncodeError):
        command._publish(tmp_path / "a", Console(file=sys.stdout, width=200), report=True)
    assert (tmp_path / "a" / "report.html").is_file()
    assert (tmp_path / "a" / "tables" / "demo.md").is_file()


def test_streams_that_a_caller_has_replaced_are_not_changed(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    show_what_it_can()
    assert sys.stdout is stream

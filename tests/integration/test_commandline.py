from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from dualclip_lightning import cli
from dualclip_lightning.benchmark.options import benchmark_options, compare_options, regression_options
from dualclip_lightning.commandline import quiet
from dualclip_lightning.commandline.parser import Parser, nearest_option, speaking, unknown_options
from dualclip_lightning.demo import options as demo
from dualclip_lightning.predict import Threshold
from dualclip_lightning.predict import options as predict
from dualclip_lightning.predict.bundle import calibrate_options
from dualclip_lightning.predict.watch import options as watch_options

PARSERS = {
    "predict": predict.parse, "demo": demo.parse, "benchmark": benchmark_options, "compare": compare_options,
    "regression": regression_options, "calibrate": calibrate_options.parse, "watch": watch_options.parse,
}  # fmt: skip
HEAVY = ("torch", "lightning", "anomalib", "pandas", "open_clip")


SCRIPT = f"""
import contextlib, io, json, sys
from dualclip_lightning.cli import main

for command in json.loads(sys.argv[1]):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(command)
        except SystemExit as stop:
            status = stop.code
    said = [stream.seek(0) or stream.read() for stream in (out, err)]
    print(json.dumps([status, *said, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
"""Script that runs commands and prints the status, output and imported heavy libraries of each."""


@pytest.fixture
def run(tmp_path):
    """Function that runs commands in one new interpreter."""

    def call(*commands: list[str], **settings) -> list[SimpleNamespace]:
        line = [sys.executable, "-c", SCRIPT, json.dumps(commands)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, **settings)
        assert done.returncode == 0, done.stderr
        found = [json.loads(told) for told in done.stdout.splitlines()]
        assert len(found) == len(commands)
        return [
            SimpleNamespace(status=status, out=out, err=err.splitlines(), heavy=heavy)
            for status, out, err, heavy in found
        ]

    return call


@pytest.mark.slow
def test_help_of_every_command_imports_nothing_heavy(run):
    commands = sorted({*cli.OUR_COMMANDS, *cli.ANOMALIB_COMMANDS})
    for command, done in zip(commands, run(*([command, "--help"] for command in commands)), strict=True):
        assert (done.status, done.heavy) == (0, [])
        assert f"usage: dualclip {command}" in done.out


WRONG_USE = [
    (["predict", "nowhere"], "There is no 'nowhere'"),
    (["predict", "shots", "--class_name", "plate"], "Did you mean --class-name?"),
    (["predict", "missing.txt"], "There is no 'gone.png', which 'missing.txt' names (2 of 2 missing)."),
    (["predict", ".", "--good", "missing.txt"], "There is no 'gone.png', which 'missing.txt' names"),
    (["predict", ".", "--threshold", "plate.json"], "class_name ('plate', now 'object')"),
    (["predict", ".", "--threshold", "none.json"], "Cannot read a threshold from 'none.json'"),
    (["predict", ".", "--bundle", "nowhere"], "There is no bundle 'nowhere'"),
    (["predict", ".", "--bundle", "plate.json"], "Cannot read a bundle from 'plate.json'"),
    (["watch", "nowhere", "--compare-with", "none"], "Expected a folder to watch, but there is none at 'nowhere'."),
    (["watch", "."], "Images that arrive one by one cannot be compared in pairs. Give --reference-dir FOLDER"),
    (["watch", ".", "--compare-with", "none", "--move"], "--move needs a threshold"),
    (["watch", ".", "--compare-with", "none", "--threshold", "auto"], "--threshold auto needs a whole run"),
    (["watch", ".", "--compare-with", "none", "--interval", "0"], "expected a number of seconds above 0"),
    (["watch", ".", "--compare-with", "none", "--out", "."], "--out '.' contains the watched folder"),
    (["calibrate", "nowhere", "--out", "plate.dualclip"], "There is no 'nowhere'"),
    (["calibrate", ".", "--out", "plate.json"], "There is a file 'plate.json' already"),
    (["benchmark", "--config", "nowhere.yaml"], "Expected 'nowhere.yaml' to be a YAML file"),
    (["compare", "nowhere", "nowhere"], "Expected 'nowhere' to be a folder"),
    (["regression", "check", "--config", "nowhere"], "Expected 'nowhere' to be a YAML file"),
    (["demo", "--seeds", "0"], "--seeds: expected a whole number from 1, but got '0'"),
    (["demo", "--categories", "corc"], "invalid choice: 'corc'"),
]


@pytest.mark.slow
def test_wrong_use_is_one_line_before_anything_heavy_is_imported(run, tmp_path):
    (tmp_path / "missing.txt").write_text("gone.png\nlost.png\n")
    (tmp_path / "0.png").touch()
    Threshold(0.5, settings={"class_name": "plate"}).save(tmp_path / "plate.json")
    for (command, message), done in zip(WRONG_USE, run(*(command for command, _ in WRONG_USE)), strict=True):
        assert (command, done.status, done.heavy, done.out) == (command, 2, [], "")
        (line,) = done.err
        assert line.startswith("dualclip: ")
        assert message in line


@pytest.mark.slow
def test_a_list_on_standard_input_that_names_only_missing_files_is_reported_before_anything_heavy_is_imported(run):
    (done,) = run(["predict", "-"], input="gone.png\n")
    assert (done.status, done.heavy) == (2, [])
    (line,) = done.err
    assert line.startswith("dualclip: There is no 'gone.png', which standard input names (1 of 1 missing).")


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("--class_name", "--class-name"), ("--Class-Name", "--class-name"), ("--imgsz", "--image-size"),
        ("--thresold", "--threshold"), ("--geo", "--geometry"), ("--weights", "--pretrained"), ("--zzzzzz", None),
        ("--", None),
    ],
)  # fmt: skip
def test_the_nearest_option_is_found(option, nearest):
    known = ["-h", "--class-name", "--image-size", "--threshold", "--geometry", "--pretrained"]
    assert nearest_option(option, known) == nearest


@pytest.mark.parametrize("option", ["--source", "--input"])
def test_the_option_that_other_tools_use_for_the_source_is_answered_with_path(option, capsys):
    with pytest.raises(SystemExit):
        predict.parse([option, "shots"])
    assert "Give the path without an option: `dualclip predict PATH`" in capsys.readouterr().err


def test_values_that_begin_with_a_dash_are_not_taken_for_options():
    assert list(unknown_options(["-", "-1", "-.5", "- a note", "--known=3", "--", "--unknown"], ["--known"])) == []
    assert list(unknown_options(["-x", "--un known", "--unknown=--known"], ["--known"])) == ["-x", "--unknown"]


@pytest.mark.parametrize("command", PARSERS)
def test_the_help_of_every_option_with_a_value_states_its_default(command, monkeypatch, capsys):
    made = []
    original = Parser.parse_args
    monkeypatch.setattr(Parser, "parse_args", lambda self, *args: made.append(self) or original(self, *args))
    with pytest.raises(SystemExit):
        PARSERS[command](["--help"])
    helped = [" ".join(made[0]._get_formatter()._expand_help(action).split()) for action in _with_values(made[0])]
    assert helped
    assert [text for text in helped if "default" not in text] == []
    assert "%(" not in capsys.readouterr().out


def _with_values(parser: Parser) -> list:
    return [
        action
        for action in parser._actions
        if action.option_strings and action.nargs != 0 and not action.required and action.help != argparse.SUPPRESS
    ]


def test_quiet_drops_what_is_printed_and_verbose_lets_libraries_speak(capsys):
    with speaking(SimpleNamespace(quiet=True, verbose=False)):
        print("said")
    assert capsys.readouterr().out == ""
    for loud in (False, True):
        with speaking(SimpleNamespace(quiet=False, verbose=loud)), warnings.catch_warnings(record=True) as heard:
            with quiet.quiet():
                warnings.warn("heard", UserWarning, stacklevel=1)
            assert len(heard) == loud
    print("said again")
    assert capsys.readouterr().out == "said again\n"


@pytest.mark.slow
def test_a_closed_pipe_gives_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "dualclip_lightning", "--help"]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_the_package_can_be_run_as_a_module_and_prints_its_version(run, tmp_path):
    command = [sys.executable, "-m", "dualclip_lightning", "version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == run(["--version"])[0].out
    assert done.stdout.startswith("dualclip_lightning ")

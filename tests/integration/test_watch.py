"""`dualclip watch` with a real model: scores as `dualclip predict` gives, kills, signals and a stream."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dualclip_lightning.cli import main
from dualclip_lightning.predict.output.log import Log
from dualclip_lightning.predict.watch import command, files, journal
from tests.forked import Ended, Forked
from tests.towers import TINY_CLIP, write_image

pytestmark = pytest.mark.slow
COUNT = 5
MODEL = ("--pretrained", str(TINY_CLIP), "--class-name", "steel plate", "--device", "cpu")


def start(*arguments: str, prepare: Callable[[], object] = lambda: None) -> Forked:
    """Start `dualclip` in a fork of this process, in which `prepare` is called first."""

    def call() -> int:
        prepare()
        return main(list(arguments))

    return Forked(call, Path.cwd())


def watch(folder: Path, out: Path, *more: str, prepare: Callable[[], object] = lambda: None) -> Ended:
    ended = start("watch", str(folder), "--out", str(out), "--interval", "0.02", *MODEL, *more, prepare=prepare).end()
    assert "Traceback" not in ended.err
    return ended


def table(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def scores(out: Path) -> dict[str, str]:
    return {row["path"]: row["score"] for row in table(out)}


def signalling(module: object, name: str, nth: int, number: signal.Signals, *, after: bool = False) -> Callable:
    """Return a function that makes the process send itself a signal at the nth call of a function."""

    def prepare() -> None:
        original, calls = getattr(module, name), [0]

        def call(*arguments, **named):
            calls[0] += 1
            if calls[0] == nth and not after:
                os.kill(os.getpid(), number)
            found = original(*arguments, **named)
            if calls[0] == nth and after:
                os.kill(os.getpid(), number)
            return found

        setattr(module, name, call)

    return prepare


def torn_line() -> None:
    """Let the process be killed in the middle of its fourth line of a table."""
    append, calls = files.append_durably, [0]

    def half(path, content):
        calls[0] += 1
        append(path, content[: len(content) // 2] if calls[0] == 4 else content)
        if calls[0] == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    files.append_durably = half


def write_shots(folder: Path) -> Path:
    for i in range(COUNT):
        path = folder / f"{i}.png"
        write_image(path, seed=i)
        os.utime(path, (1000 + i, 1000 + i))
    return folder


@pytest.fixture
def shots(tmp_path) -> Path:
    return write_shots(tmp_path / "shots")


@pytest.fixture(scope="module")
def predicted(tmp_path_factory) -> dict[str, str]:
    """The scores of `dualclip predict` for the same images, by file name."""
    folder = tmp_path_factory.mktemp("predicted")
    ended = start("predict", str(write_shots(folder / "shots")), "--out", str(folder / "run"), "--no-heatmaps",
                  "--compare-with", "none", "--threshold", "none", *MODEL).end()  # fmt: skip
    assert ended.status == 0, ended.err
    return {Path(path).name: score for path, score in scores(folder / "run").items()}


KILLS = {
    "before the journal": signalling(Log, "append", 4, signal.SIGKILL),
    "after the journal": signalling(Log, "append", 4, signal.SIGKILL, after=True),
    "before a table": signalling(files, "append_durably", 4, signal.SIGKILL),
    "within a table": torn_line,
    "before a move": signalling(journal, "move_durably", 2, signal.SIGKILL),
    "after a move": signalling(journal, "move_durably", 2, signal.SIGKILL, after=True),
}


@pytest.mark.parametrize("kill", KILLS)
def test_after_a_kill_every_image_is_scored_once_with_the_scores_of_predict(shots, tmp_path, predicted, kill):
    out = tmp_path / "out"
    median = sorted(predicted.values())[COUNT // 2]
    options = ("--once", "--compare-with", "none", "--move", "--threshold", median)
    assert watch(shots, out, *options, prepare=KILLS[kill]).status == -signal.SIGKILL
    assert watch(shots, out, *options).status == 0
    rows = table(out)
    assert len(rows) == len((out / "predictions.jsonl").read_text().splitlines()) == COUNT
    assert scores(out) == {str(shots / name): score for name, score in predicted.items()}
    assert {row["moved_to"] for row in rows} == {str(path) for path in shots.rglob("*.png")}
    assert {row["decision"]: Path(row["moved_to"]).parent.name for row in rows} == {
        "normal": "ok", "anomalous": "anomalous",
    }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_after_the_image_in_work(shots, tmp_path, number):
    out = tmp_path / "out"
    options = ("--compare-with", "none")
    stopped = watch(shots, out, *options, prepare=signalling(Log, "append", 4, number))
    assert stopped.status == 0
    assert f"2 scored, 0 not usable, results in '{out}'." in stopped.out
    assert len(table(out)) == 2
    assert watch(shots, out, *options, "--once").status == 0
    assert len(table(out)) == COUNT


def test_a_signal_ends_the_wait_for_arrivals(shots, tmp_path):
    ask = signalling(command.SignalStop, "wait", 1, signal.SIGTERM)
    stopped = watch(shots, tmp_path / "out", "--compare-with", "none", "--interval", "100000", prepare=ask)
    assert (stopped.status, "0 scored" in stopped.out) == (0, True)


def test_a_stream_goes_on_with_the_same_references_after_a_kill(shots, tmp_path):
    options = ("--once", "--compare-with", "stream", "--bank-size", "2")
    assert watch(shots, tmp_path / "whole", *options).status == 0
    out = tmp_path / "out"
    kill = signalling(Log, "append", 6, signal.SIGKILL, after=True)
    assert watch(shots, out, *options, prepare=kill).status == -signal.SIGKILL
    assert watch(shots, out, *options).status == 0
    assert scores(out) == scores(tmp_path / "whole")
    assert [row["references"] for row in table(out)] == ["0", "1", "2", "2", "2"]


def test_a_bundle_gives_the_scores_and_decisions_of_predict(shots, tmp_path):
    bundle = tmp_path / "plate.dualclip"
    made = start("calibrate", str(shots), "--num-references", "2", "--false-alarm-rate", "0.4", "--out", str(bundle),
                 *MODEL).end()  # fmt: skip
    assert made.status == 0, made.err
    common = ("--bundle", str(bundle), "--device", "cpu")
    run = start("predict", str(shots), "--out", str(tmp_path / "run"), "--no-heatmaps", *common).end()
    station = start("watch", str(shots), "--out", str(tmp_path / "out"), "--once", "--move", "--interval", "0.02",
                    *common).end()  # fmt: skip
    assert (run.status, station.status) == (0, 0), run.err + station.err
    theirs, ours = ({row["path"]: row for row in table(tmp_path / name)} for name in ("run", "out"))
    for name in ("score", "decision", "p_value", "threshold", "references", "geometry"):
        assert {path: row[name] for path, row in ours.items()} == {path: row[name] for path, row in theirs.items()}
    assert {row["decision"] for row in ours.values()} == {"normal", "anomalous"}


def test_pairs_of_another_method_are_refused_in_a_sentence(shots, tmp_path):
    options = ("--method", "MuSc", "--set", "num_references=1", "--geometry", "squash")
    refused = watch(shots, tmp_path / "out", *options)
    assert refused.status == 2
    assert refused.err.splitlines()[-1].startswith("dualclip: ")
    assert not (tmp_path / "out").exists()

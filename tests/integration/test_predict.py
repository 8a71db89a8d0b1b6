"""`dualclip predict` judged by the files it writes: broken images, kills, full disks, and two runs at once."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.cli import main
from dualclip_lightning.predict.output.log import Log
from tests.forked import Forked
from tests.hostile_images import BROKEN, SIZE, SOUND, write_corpus
from tests.towers import TINY_CLIP, write_image

pytestmark = pytest.mark.slow

DUALCLIP = Path(sys.executable).parent / "dualclip"
TEMPORARY = re.compile(r"\.[0-9a-f]{32}$")
COUNT = 40


@dataclass(frozen=True)
class Done:
    """Exit status, output and folder of a run."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def scores(self) -> dict[str, dict[str, str]]:
        """Rows of `scores.csv` by path."""
        return {row["path"]: row for row in table(self.folder / "scores.csv")}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def plain_scores(done: Done) -> dict[str, str]:
    return {path: row["score"] for path, row in done.scores.items()}


def command(images: Path, out: Path, *more: str) -> list[str]:
    return [str(DUALCLIP), "predict", str(images), "--pretrained", str(TINY_CLIP), "--class-name", "steel plate",
            "--device", "cpu", "--out", str(out), *more]  # fmt: skip


def stopping(after: int, number: signal.Signals) -> Callable[[], None]:
    """Return a function that makes the process send itself a signal once `after` images are in its journal.

    Unlike a fixed time, this does not depend on how busy the machine is.
    """
    append = Log.append

    def prepare() -> None:
        left = [after]

        def append_and_stop(log: Log, record: dict[str, Any]) -> None:
            append(log, record)
            left[0] -= "name" in record
            if not left[0]:
                os.killpg(0, number)

        Log.append = append_and_stop

    return prepare


def start(images: Path, out: Path, *more: str, prepare: Callable[[], Any] = lambda: None) -> Forked:
    """Start the command in a fork of this process, in which `prepare` is called first."""

    def call() -> int:
        prepare()
        return main(command(images, out, *more)[1:])

    return Forked(call, out.parent)


def finish(process: Forked, out: Path) -> Done:
    ended = process.end()
    assert "Traceback" not in ended.err
    return Done(ended.status, ended.out, ended.err, out)


def run(images: Path, out: Path, *more: str) -> Done:
    return finish(start(images, out, *more), out)


UNNEEDED = ("scipy.stats", "sklearn", "pandas", "anomalib", "lightning")
"""Libraries that only some runs need; each takes a second or more to import."""
INSTALLED = f"""
import runpy, sys
import dualclip_lightning.predict.command
print("imported:", *({{*{UNNEEDED}}} & {{*sys.modules}}), flush=True)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Script that prints which of these have been imported when the command starts, and runs the installed command."""


def run_installed(images: Path, out: Path, *more: str) -> Done:
    """Run the installed command in a new interpreter."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(out.parent), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
                   "HF_HUB_OFFLINE": "1", "DUALCLIP_CACHE": os.environ["DUALCLIP_CACHE"],
                   "PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # fmt: skip
    line = [sys.executable, "-c", INSTALLED, *command(images, out, *more)]
    ended = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    return Done(ended.returncode, ended.stdout, ended.stderr, out)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if TEMPORARY.search(path.name)]


def journal(out: Path) -> Path:
    return out / ".work" / "images" / "journal.jsonl"


def records(out: Path) -> list[str]:
    """Return the names in the journal, each as often as it was scored."""
    found: list[str] = []
    for line in journal(out).read_bytes().splitlines() if journal(out).exists() else ():
        with suppress(ValueError, KeyError):  # the first line has the settings, the last one may be incomplete
            found.append(json.loads(line)["name"])
    return found


def wait_until_stopped(process: Forked) -> None:
    """Wait until a process has stopped itself, without reaping it, so that it can be waited for again."""
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert found.si_code == os.CLD_STOPPED


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Done:
    folder = tmp_path_factory.mktemp("hostile")
    write_corpus(folder / "corpus")
    return run_installed(folder / "corpus", folder / "results", "--maps", "--masks", "--false-alarm-rate", "0.1")


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "shots"
    for i in range(COUNT):
        write_image(folder / f"{i:02}.png", seed=i)
    return folder


@pytest.fixture(scope="module")
def whole(shots) -> Done:
    """A run without any disturbance."""
    return run(shots, shots.parent / "whole")


def test_every_broken_file_is_listed_with_its_reason_and_every_sound_one_scored(hostile):
    assert hostile.status == 1
    failures = {Path(row["path"]).name: row["reason"] for row in table(hostile.folder / "failures.csv")}
    assert set(failures) == {*BROKEN, "pipe.png", "dangling.png"}
    for name, (_, reason) in BROKEN.items():
        assert re.search(reason, failures[name])
    assert failures["pipe.png"] == "it is not a regular file."
    assert failures["dangling.png"] == "there is no such file (any more)."
    assert {Path(path).name for path in hostile.scores} == {*SOUND, "not_utf8_\\udcff.png"}


def test_failures_are_printed_and_standard_error_has_only_progress(hostile):
    for name in (*BROKEN, "pipe.png", "dangling.png"):
        assert re.search(rf"not used: .*{re.escape(name)}: ", hostile.out)
    sound, broken = len(SOUND) + 1, len(BROKEN) + 2
    assert f"{sound + broken} images: {sound} scored, {broken} could not be used." in hostile.out
    known = r"Loading PyTorch and the model \.\.\.|(scoring|drawing): \d+ (to do|of \d+, .* images/s.*)"
    assert all(re.fullmatch(known, line) for line in hostile.err.splitlines())


def test_it_starts_without_libraries_that_only_some_runs_need(hostile):
    assert hostile.out.splitlines()[0] == "imported:"


def test_every_row_has_the_score_and_how_the_image_was_read(hostile):
    for path, row in hostile.scores.items():
        assert 0 <= float(row["score"]) <= 1
        assert row["decision"] in {"normal", "anomalous"}
        assert row["reference"]
        assert row["reference"] != path
        assert float(row["seconds"]) > 0
        note = SOUND.get(Path(path).name, (b"", ""))[1]
        assert note in row["notes"]
    rows = {Path(path).name: row for path, row in hostile.scores.items()}
    assert (rows["turned.jpg"]["height"], rows["turned.jpg"]["width"]) == (str(SIZE[1]), str(SIZE[0]))


def test_every_documented_file_exists_and_is_complete(hostile):
    count = len(SOUND) + 1
    heatmaps, maps, masks = (sorted((hostile.folder / kind).rglob("*.*")) for kind in ("heatmaps", "maps", "masks"))
    assert len(heatmaps) == len(maps) == len(masks) == count
    for path in (*heatmaps, *masks):
        with Image.open(path) as image:
            image.load()
    sizes = sorted((int(row["height"]), int(row["width"])) for row in hostile.scores.values())
    assert sorted(np.load(path, allow_pickle=False).shape for path in maps) == sizes
    assert {path.name for path in hostile.folder.iterdir()} == {
        ".work", "failures.csv", "heatmaps", "index.html", "maps", "masks", "predictions.jsonl", "run.json",
        "scores.csv", "threshold.json",
    }  # fmt: skip
    facts = json.loads((hostile.folder / "run.json").read_text())
    assert (facts["images"], facts["failures"]) == (count, len(BROKEN) + 2)
    assert facts["settings"]["class_name"] == "steel plate"


def test_no_temporary_file_is_left(hostile, whole):
    assert leftovers(hostile.folder.parent) == leftovers(whole.folder) == []


def test_the_gallery_names_every_image_and_hostile_names_stay_text(hostile):
    page = (hostile.folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2  # the data and the page's own script
    content = json.loads(re.search(r'id="content">(.*?)</script>', page)[1])
    assert {Path(image["path"]).name for image in content["images"]} == {*SOUND, "not_utf8_\udcff.png"}
    assert all(
        (hostile.folder / os.fsdecode(unquote_to_bytes(image["heatmap"]))).is_file() for image in content["images"]
    )
    assert "http" not in page.replace('http-equiv="Content', "").replace("http://www.w3.org/2000/svg", "")


@dataclass(frozen=True)
class Troubles:
    """A run that was killed, met a full disk, was interrupted and then finished; and the names scored before each."""

    killed: Done
    full: Done
    interrupted: Done
    finished: Done
    before: dict[str, set[str]]
    kept_when_interrupted: dict[str, str]


@pytest.fixture(scope="module")
def troubles(shots) -> Troubles:
    out, before = shots.parent / "troubled", {}
    killed = finish(start(shots, out, prepare=stopping(6, signal.SIGKILL)), out)
    assert not (out / "scores.csv").exists()
    before["full"] = set(records(out))
    # A limit on the size of files simulates a full disk: the journal stops in the middle of a line.
    limit = journal(out).stat().st_size + 1000
    full = finish(start(shots, out, prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))), out)
    assert journal(out).stat().st_size == limit
    before["interrupted"] = set(records(out))
    interrupted = finish(start(shots, out, prepare=stopping(4, signal.SIGINT)), out)
    before["finished"] = set(records(out))
    kept = plain_scores(interrupted)
    assert leftovers(out / "heatmaps") == []
    return Troubles(killed, full, interrupted, run(shots, out), before, kept)


def test_nothing_that_was_scored_is_lost_or_scored_again(troubles):
    sizes = [len(names) for names in troubles.before.values()]
    assert sizes[0] == 6
    assert sizes[0] < sizes[1] < sizes[2] == sizes[1] + 4 < COUNT
    assert f"{COUNT} images: {COUNT} scored ({sizes[2]} of them before)" in troubles.finished.out
    scored = records(troubles.finished.folder)
    assert len(scored) == len(set(scored)) == COUNT


def test_a_run_with_many_interruptions_ends_with_the_same_results_as_one_without(troubles, whole):
    assert (troubles.finished.status, whole.status) == (0, 0)
    assert plain_scores(troubles.finished) == plain_scores(whole)
    ours, theirs = (
        {path.name: path.read_bytes() for path in (done.folder / "heatmaps").iterdir()}
        for done in (troubles.finished, whole)
    )
    assert ours == theirs


def test_a_full_disk_gives_3_and_a_sentence(troubles):
    assert troubles.full.status == 3
    assert re.fullmatch(
        rf"Loading .*\nContinuing: \d+ of {COUNT} done before\.\nscoring: \d+ to do\n"
        r"dualclip: Cannot write '.*journal\.jsonl' \(No space left on device\)\. What was done is kept: "
        r"make room or choose another place, and run the same command again\.\n", troubles.full.err
    )  # fmt: skip


def test_ctrl_c_gives_130_a_sentence_and_the_scores_so_far(troubles, whole):
    stopped = troubles.interrupted
    assert stopped.status == 130
    sentence = f"dualclip: Stopped. What was done is kept in '{stopped.folder}'; the same command goes on."
    assert stopped.err.splitlines()[-1] == sentence
    assert set(troubles.kept_when_interrupted) == troubles.before["finished"]
    assert troubles.kept_when_interrupted.items() <= plain_scores(whole).items()


def test_a_kill_leaves_no_partial_result(troubles):
    assert troubles.killed.status == -signal.SIGKILL
    assert not [path for path in leftovers(troubles.finished.folder) if ".work" not in path.parts]


def test_a_folder_that_changes_during_the_run_is_reported_file_by_file(tmp_path):
    for i in range(COUNT):
        write_image(tmp_path / "shots" / f"{i:02}.png", seed=i)
    process = start(tmp_path / "shots", tmp_path / "out", prepare=stopping(4, signal.SIGSTOP))
    wait_until_stopped(process)
    early = records(tmp_path / "out")
    altered, *gone = [early[0], *sorted(set(map(str, (tmp_path / "shots").iterdir())) - set(early))[:4]]
    for name in gone:
        Path(name).unlink()
    write_image(Path(altered), seed=99, size=(60, 60))
    write_image(tmp_path / "shots" / "new.png", seed=98)
    os.kill(process.pid, signal.SIGCONT)
    found = finish(process, tmp_path / "out")
    assert found.status == 1
    reasons = {row["path"]: row["reason"] for row in table(tmp_path / "out" / "failures.csv")}
    assert set(reasons) == {altered, *gone}
    assert all("there is no such file (any more)." in reasons[name] for name in gone)
    assert "the file has changed since. Run the same command again." in reasons[altered]
    assert len(found.scores.keys() | reasons.keys()) == COUNT
    again = run(tmp_path / "shots", tmp_path / "out")
    assert again.status == 0
    again = replace(again, folder=tmp_path / "out2")  # the results of the first run remain unchanged
    assert set(again.scores) == set(map(str, (tmp_path / "shots").iterdir()))
    assert again.scores[altered]["height"] == "60"
    assert (tmp_path / "out2" / "heatmaps" / "new.jpg").is_file()
    assert not (tmp_path / "out" / "heatmaps" / "new.jpg").exists()


def test_a_second_run_into_the_same_folder_is_refused_and_harms_nothing(shots, whole):
    before = plain_scores(whole)
    with journal(whole.folder).open("ab") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        refused = run(shots, whole.folder)
    assert refused.status == 2
    assert refused.err.splitlines()[-1] == (
        f"dualclip: Another run is writing to '{whole.folder}'. Wait for it, or choose another --out."
    )
    assert plain_scores(whole) == before


def test_missing_permission_to_read_is_listed_and_to_write_is_reported(tmp_path):
    for name in ("a.png", "secret.png", "hidden/b.png"):
        write_image(tmp_path / "shots" / name, seed=1)
    (tmp_path / "shots" / "secret.png").chmod(0)
    (tmp_path / "shots" / "hidden").chmod(0)
    if os.access(tmp_path / "shots" / "secret.png", os.R_OK):
        pytest.skip("a superuser may read and write everything")
    (tmp_path / "locked").mkdir(mode=0o500)
    found = run(tmp_path / "shots", tmp_path / "out")
    reasons = {Path(row["path"]).name: row["reason"] for row in table(tmp_path / "out" / "failures.csv")}
    refused = run(tmp_path / "shots", tmp_path / "locked" / "out")
    (tmp_path / "shots" / "hidden").chmod(0o700)
    assert found.status == 1
    assert reasons == {
        "secret.png": "permission to read it is denied.", "hidden": "the folder cannot be read (Permission denied).",
    }  # fmt: skip
    assert refused.status == 3
    assert "Permission denied" in refused.err

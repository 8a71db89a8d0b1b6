from __future__ import annotations

import io

import pytest
from rich.console import Console

from dualclip_lightning.images.finding.listing import Listing
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict import Threshold
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.progress import EVERY_SECONDS, ProgressReporter
from dualclip_lightning.predict.output.report import Report
from dualclip_lightning.predict.output.summary import MOST_LISTED, summarise


def report(seconds_per_image: float, total: int, done: int = 0, *, terminal: bool = False) -> list[str]:
    """Return the lines written while images are scored, each in a number of seconds on a simulated clock."""
    said, now = io.StringIO(), [100.0]
    console = Console(file=said, force_terminal=terminal, width=100, soft_wrap=True)
    with ProgressReporter(console, lambda: now[0]) as progress:
        progress.begin("scoring", total, done)
        for _ in range(total - done):
            now[0] += seconds_per_image
            progress.advance()
    return said.getvalue().splitlines()


def test_a_log_regularly_gets_a_line_with_the_rate_and_the_time_left():
    assert report(EVERY_SECONDS / 4, 10) == [
        "scoring: 10 to do",
        "scoring: 4 of 10, 0.4 images/s, 0:00:15 left",
        "scoring: 8 of 10, 0.4 images/s, 0:00:05 left",
        "scoring: 10 of 10, 0.4 images/s",
    ]


def test_a_quick_stage_has_a_first_and_a_last_line():
    assert report(0.01, 500) == ["scoring: 500 to do", "scoring: 500 of 500, 100.0 images/s"]
    assert report(0, 5) == ["scoring: 5 to do", "scoring: 5 of 5"]
    assert report(1, 0) == []


def test_what_an_earlier_run_did_does_not_count_in_the_rate():
    assert report(1, 40, done=38) == [
        "Continuing: 38 of 40 done before.", "scoring: 2 to do", "scoring: 40 of 40, 1.0 images/s",
    ]  # fmt: skip
    assert report(1, 40, done=40) == ["Continuing: 40 of 40 done before."]


def test_a_terminal_has_a_bar_instead_of_lines():
    assert not [line for line in report(EVERY_SECONDS, 3, terminal=True) if line.startswith("scoring: ")]


def entry(number: int, score: float) -> Entry:
    return Entry(f"{number:03}.png", (1, 2), score, 0.9, (4, 5), (), "squash", 0.1, ())


def summary(entries=(), failures=(), threshold=None, resumed=0, tmp_path=None, **listing) -> list[str]:
    paths = [e.name for e in entries] + [f.name for f in failures if f.name not in {e.name for e in entries}]
    found = Listing(**{"paths": paths, "unreadable": {}, "others": 0} | listing)
    return list(summarise(Report(list(entries), list(failures), resumed, threshold), found, tmp_path))


def test_every_anomalous_image_is_named_up_to_a_number(tmp_path):
    few = summary([entry(i, i / 100) for i in range(30)], threshold=Threshold(0.195), tmp_path=tmp_path)
    assert few[0] == "30 images: 30 scored, 0 could not be used."
    assert few[2] == "Of 30 scored images: 10 anomalous, 20 normal."
    assert few[3:-1] == [f"  {i / 100:.4f}  {i:03}.png" for i in range(29, 19, -1)]
    many = summary([entry(i, i / 100) for i in range(60)], threshold=Threshold(0.095), tmp_path=tmp_path)
    assert len(many) == 3 + MOST_LISTED + 1 + 1
    assert many[-2] == f"  and {50 - MOST_LISTED} more, all in scores.csv"


@pytest.mark.parametrize("threshold", [None, Threshold(0.5)])
def test_without_an_anomalous_image_the_highest_scores_are_shown(tmp_path, threshold):
    lines = summary([entry(i, i / 100) for i in range(9)], threshold=threshold, tmp_path=tmp_path)
    assert lines[-5:-1] == ["Highest scores:", "  0.0800  008.png", "  0.0700  007.png", "  0.0600  006.png"]
    assert any("Of 9 scored images: 0 anomalous, 9 normal." in line for line in lines) == (threshold is not None)


def test_counts_add_up(tmp_path):
    failures = [Failure("a.png", "it is empty."), Failure("000.png", "it was scored, but could not be drawn: gone."),
                Failure("hidden", "the folder cannot be read.")]  # fmt: skip
    paths = ["000.png", "001.png", "a.png"]
    lines = summary([entry(0, 0.1), entry(1, 0.2)], failures, resumed=1, paths=paths, others=1,
                    unreadable={"hidden": "the folder cannot be read."}, tmp_path=tmp_path)  # fmt: skip
    assert lines[:4] == [
        "3 images: 2 scored (1 of them before), 1 could not be used.",
        "1 folder could not be read.",
        "1 scored image could not be drawn.",
        "1 other file in the folders ignored, by the suffix of the name.",
    ]
    assert lines[4:7] == [f"  not used: {f.name}: {f.reason}" for f in failures]


def test_a_run_that_scored_nothing_states_it(tmp_path):
    assert summary([], [Failure("a.png", "it is empty.")], tmp_path=tmp_path)[0] == (
        "1 image: 0 scored, 1 could not be used."
    )

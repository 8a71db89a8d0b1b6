from __future__ import annotations

import re

import pytest

from dualclip_lightning.measuring import predicting, timing
from dualclip_lightning.measuring.timing import Taken
from dualclip_lightning.predict.judge import Judge
from dualclip_lightning.predict.output.pictures import drawing
from tests.towers import write_image


@pytest.fixture
def folder(tmp_path):
    for seed in range(6):
        write_image(tmp_path / "shots" / f"{seed}.png", seed=seed)
    return tmp_path / "shots"


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--anomalib",)])
def test_every_step_does_its_part_of_the_work(folder, tiny_folder, capsys, monkeypatch, takes, more):
    """Scoring appears to take 20 s and drawing an image 3 s, and nothing else any time."""
    monkeypatch.setattr(timing.time, "perf_counter", lambda: sum(takes.passed))
    takes(Judge, "__call__", 20)
    takes(drawing, "draw_heatmap", 3)
    predicting.main([str(folder), "--pretrained", str(tiny_folder), "--device", "cpu", *more])
    printed = capsys.readouterr().out
    assert "6 images, cpu, batch 8" in printed
    seconds = dict(re.findall(r"^(\w.*?\w)\s+(\d+\.\d+) ", printed, re.MULTILINE))
    assert float(seconds["decode"]) == 0
    assert float(seconds["whole run"]) == float(seconds["score"]) + 6 * 3
    assert ("anomalib's predict" in printed) == bool(more)


def test_the_start_is_compared_with_the_import(folder, tiny_folder, capsys, monkeypatch):
    commands = []

    def take(command):
        commands.append(command)
        return Taken(4.0, 2.0) if predicting.IMPORT in command else Taken(6.0, 2.5)

    monkeypatch.setattr(predicting, "take_process", take)
    predicting.main([str(folder), "--pretrained", str(tiny_folder), "--device", "cpu", "--start-up", "2"])
    assert len(commands) == 4
    assert {"--pretrained", str(tiny_folder)} <= set(commands[1])
    printed = capsys.readouterr().out
    assert re.search(r"predict, one image\s+6\.0\s+1\.5\d*\s+2\.5\d*\s+1\.25", printed)


def test_medians_are_divided_by_those_of_a_step():
    rounds = [{"a": Taken(1.0, 2.0), "b": Taken(2.0, seconds)} for seconds in (1.0, 3.0, 9.0)]
    table = timing.summarise(rounds, "a", images=4)
    assert list(table.loc["b"]) == [2.0, 2.0, 3.0, 1.5, 500.0]

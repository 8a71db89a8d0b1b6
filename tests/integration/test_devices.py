"""Two processes (gloo, on the CPU) give exactly what one gives, at a number of images that two do not divide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture
def run(tmp_path, mvtec_root, tiny_folder):
    """What every process of a run left: scores, metrics and how many images it encoded."""

    def call(processes, stage, method="DualImageCLIP", **arguments):
        out = tmp_path / f"{processes}_{stage}"
        out.mkdir()
        tiny = {"pretrained": str(tiny_folder), "class_name": "screw", "visualizer": False} | arguments
        command = [sys.executable, SCRIPT, out, str(processes), stage, method, json.dumps(tiny), mvtec_root]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("rank*.json"))]

    return call


def test_a_test_run_has_the_same_scores_and_metrics(run):
    (alone,) = run(1, "test")
    ranks = run(2, "test")
    assert len(ranks) == 2
    expected = dict(alone["scores"])
    assert len(expected) == 9
    for rank in ranks:
        assert rank["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
        for name, score in rank["scores"]:  # the sampler repeats one image, whose score counts once
            assert score == pytest.approx(expected[name], abs=1e-6)
    assert {name for rank in ranks for name, _ in rank["scores"]} == set(expected)
    # Pairs lie on one process each: only the image that is repeated and the odd group are encoded more than once.
    assert sum(rank["encoded"] for rank in ranks) <= 9 + 3


def test_a_predict_run_has_no_image_twice_and_none_missing(run):
    (alone,) = run(1, "predict")
    ranks = run(2, "predict")
    together = [tuple(entry) for rank in ranks for entry in rank["scores"]]
    assert Counter(name for name, _ in together) == Counter(name for name, _ in alone["scores"])
    assert dict(together) == pytest.approx(dict(alone["scores"]), abs=1e-6)


def test_a_method_that_scores_the_whole_set_does_so_in_every_process(run):
    (alone,) = run(1, "test", method="MuSc")
    ranks = run(2, "test", method="MuSc")
    assert ranks[0]["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
    assert dict(ranks[0]["scores"] + ranks[1]["scores"]) == pytest.approx(dict(alone["scores"]), abs=1e-6)

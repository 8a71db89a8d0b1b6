"""Two processes (gloo, on the CPU) give the same results as one, for an odd number of images."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from torch import multiprocessing

from tests.integration import two_processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mvtec_root, tiny_folder):
    """Folder with the results of two processes in every run."""
    out = tmp_path_factory.mktemp("ranks")
    arguments = (str(out), mvtec_root, tiny_folder)
    multiprocessing.start_processes(two_processes.work, arguments, nprocs=2, start_method="fork")
    return out


@pytest.fixture
def run(folder, tmp_path, mvtec_root, tiny_folder):
    """Function that returns the results of a run in one process, and those of each of the two processes."""

    def call(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        _, alone = two_processes.run(name, 1, tmp_path, mvtec_root, tiny_folder)
        return alone, [json.loads((folder / f"{name} {rank}.json").read_text(encoding="utf-8")) for rank in range(2)]

    return call


def test_a_test_run_has_the_same_scores_and_metrics(run):
    alone, ranks = run("test")
    expected = dict(alone["scores"])
    assert len(expected) == 9
    for rank in ranks:
        assert rank["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
        for name, score in rank["scores"]:  # the sampler repeats one image
            assert score == pytest.approx(expected[name], abs=1e-6)
    assert {name for rank in ranks for name, _ in rank["scores"]} == set(expected)
    # A pair is scored by one process, so only the repeated image and the odd group are encoded more than once.
    assert sum(rank["encoded"] for rank in ranks) <= 9 + 3


def test_a_predict_run_has_no_image_twice_and_none_missing(run):
    alone, ranks = run("predict")
    together = [tuple(entry) for rank in ranks for entry in rank["scores"]]
    assert Counter(name for name, _ in together) == Counter(name for name, _ in alone["scores"])
    assert dict(together) == pytest.approx(dict(alone["scores"]), abs=1e-6)


def test_a_method_that_scores_the_whole_set_does_so_in_every_process(run):
    alone, ranks = run("whole set")
    assert ranks[0]["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
    assert dict(ranks[0]["scores"] + ranks[1]["scores"]) == pytest.approx(dict(alone["scores"]), abs=1e-6)

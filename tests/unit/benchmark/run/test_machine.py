from __future__ import annotations

import random
import re
import subprocess

import numpy as np
import pytest
import torch

from dualclip_lightning.benchmark.run import machine
from dualclip_lightning.benchmark.run.machine import CellPlace, default_workers, places, seeded, threads


@pytest.mark.parametrize(("cores", "workers", "expected"), [(16, 4, 4), (16, 3, 5), (2, 4, 1)])
def test_processes_divide_the_cores_among_them(monkeypatch, cores, workers, expected):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert places("cpu", workers) == [CellPlace(threads=expected)] * workers


def test_one_process_keeps_its_threads():
    assert places("cpu", 1) == [CellPlace(threads=None)]
    assert default_workers("cpu") == 1


def test_processes_take_the_gpus_in_turn_one_each_unless_more_are_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [place.gpu for place in places("cuda", 4)] == [0, 1, 0, 1]
    assert default_workers("cuda") == 2


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002, S311


def test_every_global_generator_is_seeded_and_always_restored():
    for generator in (torch.manual_seed, np.random.seed, random.seed):
        generator(7)
    expected = draws()
    for generator in (torch.manual_seed, np.random.seed, random.seed):
        generator(7)
    with seeded(2**40 + 1):
        first = draws()
    with seeded(2**40 + 1):
        assert draws() == first
    with pytest.raises(KeyError), seeded(2**40 + 1):
        _ = {}[draws]
    assert draws() == expected
    assert first != expected


def test_the_revision_is_the_commit_of_the_checkout_and_marks_changed_files(tmp_path, monkeypatch):
    def git(*command):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        done = subprocess.run(["git", "-C", tmp_path, *identity, *command], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(machine, "PACKAGE", tmp_path / "package")
    machine.git_revision.cache_clear()
    assert machine.git_revision() is None  # not a checkout
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    git("tag", "-a", "v1", "-m", "v1")
    machine.git_revision.cache_clear()
    assert machine.git_revision() == git("rev-parse", "HEAD")
    assert re.fullmatch(r"[0-9a-f]{40}", machine.git_revision())
    (tmp_path / "file").write_text("two")
    machine.git_revision.cache_clear()
    assert machine.git_revision() == git("rev-parse", "HEAD") + "-dirty"
    machine.git_revision.cache_clear()

"""What a cell needs to know of the machine: its GPUs and cores, and which revision of the code it has."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng

PACKAGE = Path(__file__).parents[2]


class CellPlace(NamedTuple):
    """Where a cell runs."""

    gpu: int = 0
    """Which one, if it runs on a GPU."""
    threads: int | None = None
    """How many threads it computes with; None leaves that as it is."""


def places(device: str, workers: int) -> list[CellPlace]:
    """Where each of some processes runs: GPUs in turn, or the cores divided among them."""
    if device == "cuda":
        return [CellPlace(gpu=number % max(torch.cuda.device_count(), 1)) for number in range(workers)]
    return [CellPlace(threads=max(cores() // workers, 1) if workers > 1 else None) for _ in range(workers)]


def default_workers(device: str) -> int:
    """One a GPU; on the CPU one, which uses all cores."""
    return max(torch.cuda.device_count(), 1) if device == "cuda" else 1


def cores() -> int:
    """The cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads for a while; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every global generator for a while: PyTorch's, NumPy's and Python's. They are put back, whatever happens."""
    isolation = isolate_rng()
    isolation.__enter__()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - scikit-learn, behind PatchCore, draws from it
        random.seed(seed)
        yield
    finally:
        isolation.__exit__(None, None, None)  # told of an error, it would put nothing back


@cache
def git_revision() -> str | None:
    """Commit of the checkout this package runs from, "-dirty" after it if files changed since; None elsewhere."""
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None

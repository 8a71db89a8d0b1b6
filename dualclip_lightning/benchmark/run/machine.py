"""Resources of the machine: GPUs, cores, and the revision of the code."""

from __future__ import annotations

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

from dualclip_lightning.utilities.threads import cores

PACKAGE = Path(__file__).parents[2]


class CellPlace(NamedTuple):
    """Device and threads of a cell."""

    gpu: int = 0
    """Index of the GPU, if there is one."""
    threads: int | None = None
    """Number of threads; None for the current one."""


def places(device: str, workers: int) -> list[CellPlace]:
    """Return the places of several processes: GPUs in turn, or the cores divided among them."""
    if device == "cuda":
        return [CellPlace(gpu=number % max(torch.cuda.device_count(), 1)) for number in range(workers)]
    return [CellPlace(threads=max(cores() // workers, 1) if workers > 1 else None) for _ in range(workers)]


def default_workers(device: str) -> int:
    """Return one per GPU, or a single one on the CPU, which uses all cores."""
    return max(torch.cuda.device_count(), 1) if device == "cuda" else 1


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Context with a number of threads; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Context in which every global generator is seeded: PyTorch's, NumPy's and Python's. They are always restored."""
    isolation = isolate_rng()
    isolation.__enter__()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - scikit-learn, behind PatchCore, draws from it
        random.seed(seed)
        yield
    finally:
        isolation.__exit__(None, None, None)  # it would restore nothing if it received an error


@cache
def git_revision() -> str | None:
    """Return the commit of the package's checkout, with "-dirty" if files changed; None outside a checkout."""
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None

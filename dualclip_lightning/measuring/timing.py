"""Seconds and processor seconds of calls and processes, and tables of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd


class Taken(NamedTuple):
    """Time that a step took."""

    seconds: float
    processor: float


def take(step: Callable[[], object]) -> Taken:
    """Return the time that a call takes in this process."""
    start, processor = time.perf_counter(), time.process_time()
    step()
    return Taken(time.perf_counter() - start, time.process_time() - processor)


def take_process(command: Sequence[str]) -> Taken:
    """Return the time that another process takes from its start to its end.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    start, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - our own
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(time.perf_counter() - start, used)


def summarise(rounds: Sequence[Mapping[str, Taken]], base: str, images: int | None = None) -> pd.DataFrame:
    """Return the medians over all rounds, per image if their number is given, and their ratios to those of a step."""
    taken = {name: pd.DataFrame([each[name] for each in rounds]).median() for name in rounds[0]}
    medians = pd.DataFrame(taken).T
    ratios = medians / medians.loc[base]
    table = pd.DataFrame(
        {
            "seconds": medians["seconds"],
            f"/ {base}": ratios["seconds"],
            "processor seconds": medians["processor"],
            f"/ {base} (processor)": ratios["processor"],
        }
    )
    return table if images is None else table.assign(**{"ms/image": 1000 * medians["seconds"] / images})

"""A run of a benchmark: finding the cells to run, running them, and assembling the tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from omegaconf import OmegaConf
from rich.console import Console

from dualclip_lightning.benchmark.names import short_revision
from dualclip_lightning.benchmark.parquet import remove_parquet, write_parquet
from dualclip_lightning.benchmark.plan.cells import Cell, plan, trainings_of
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.plan.schema import Config
from dualclip_lightning.benchmark.results import assemble, cell_path, is_finished, read_cell, write_cell
from dualclip_lightning.benchmark.run.data import check_data, check_training_images, part_of, prepare
from dualclip_lightning.benchmark.run.execute import failed_result
from dualclip_lightning.benchmark.run.local_runner import Event, run_here, run_in_processes
from dualclip_lightning.benchmark.run.machine import default_workers, git_revision, places
from dualclip_lightning.benchmark.run.progress import Board, watched
from dualclip_lightning.benchmark.run.ray_runner import Resources, run_on_ray
from dualclip_lightning.benchmark.run.rehearsal import Need, fetch_weights, rehearse
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.ray_cluster import connected, import_ray
from dualclip_lightning.utilities.record import mark_results

SECONDS_BETWEEN_TABLES = 30
"""Time between two updates of results.csv during a run, because each reads all cells."""


class TrainingError(RuntimeError):
    """The training on other data that a test needs has failed."""


class Means(NamedTuple):
    """Resources of a benchmark."""

    workers: int | None = None
    """Number of processes on this machine; None for one per GPU, or one on the CPU."""
    ray: Resources | None = None
    """Resources of a cell on a Ray cluster; None for this machine."""


class Todo(NamedTuple):
    """The cells of a plan and their status."""

    cells: list[Cell]
    finished: list[Cell]
    pending: list[Cell]
    trainings: list[Cell]
    """Unfinished trainings that pending cells need."""

    @property
    def keys(self) -> list[str]:
        """Return the keys of all cells, in the order of the plan."""
        return [cell.key for cell in self.cells]

    @property
    def to_run(self) -> list[Cell]:
        """Return the trainings and tests to run."""
        return [*self.trainings, *self.pending]


def look(config: Config, folder: Path) -> Todo:
    """Find the finished cells of a benchmark in a folder; failed cells are run again."""
    cells = plan(config)
    finished = [cell for cell in cells if is_finished(folder, cell.key, cell.keep_maps)]
    done = {cell.key for cell in finished}
    pending = [cell for cell in cells if cell.key not in done]
    return Todo(cells, finished, pending, [each for each in trainings_of(pending) if not is_finished(folder, each.key)])


def run_benchmark(
    config: Config,
    folder: Path,
    means: Means = Means(),  # noqa: B008 - it cannot be changed
    console: Console | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> pd.DataFrame:
    """Run the missing cells and return the results, one row per cell.

    After an interruption, the same call continues; results.csv has the finished cells, also during the run.

    Args:
        config: the benchmark.
        folder: folder of the results.
        means: processes, or resources on a cluster.
        console: terminal that shows a table of the progress; None for no table.
        on_event: called when a cell begins, and when it has ended and its result is written.

    Raises:
        dualclip_lightning.benchmark.plan.config.ConfigError: an argument that a method refuses, no such device, or
            weights or training images that are missing.
        ModuleNotFoundError: a cluster was asked for and Ray is not installed.
        OSError: a file cannot be written.
    """
    todo = look(config, folder)
    console = console or Console(quiet=True)
    needs = refuse(todo.to_run, on_cluster=means.ray is not None)
    for need in needs:
        console.print(need.sentence(), highlight=False, markup=False)
    if means.ray is None:
        with quiet():
            fetch_weights(needs)
    write_bytes_atomically(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(asdict(config))).encode())
    mark_results(folder, ("cells", "tables"))
    assemble(folder, todo.keys)
    remove_parquet(folder)
    due = 0.0
    try:
        workers = 1 if means.ray else means.workers or default_workers(todo.cells[0].device)
        board = Board([*todo.trainings, *todo.cells], [cell.key for cell in todo.finished], workers)
        for event in watched(_events(todo, folder, means, workers), board, console):
            if event.row is not None and time.monotonic() >= due:
                assemble(folder, todo.keys)
                due = time.monotonic() + SECONDS_BETWEEN_TABLES
            if on_event is not None:
                on_event(event)
    finally:
        frame = assemble(folder, todo.keys)
    if config.parquet:
        write_parquet(folder)
    return frame


def refuse(cells: Sequence[Cell], on_cluster: bool = False) -> list[Need]:
    """Check cells before anything runs, and return the weights that are to be downloaded.

    Raises:
        dualclip_lightning.benchmark.plan.config.ConfigError: an argument that a method refuses, or no such device here.
        ModuleNotFoundError: a cluster is asked for and Ray is not installed.
    """
    if on_cluster:
        import_ray()
    else:
        _check_device(cells)
        check_data(cells)
    with quiet():
        rehearsal = rehearse(cells)
        if not on_cluster:
            check_training_images(rehearsal.learning)
    return rehearsal.needs


def notes(todo: Todo, folder: Path) -> Iterator[str]:
    """Yield notes about a folder with earlier results."""
    if todo.finished:
        yield f"{len(todo.finished)} of {len(todo.cells)} cells are finished already."
    others = {path.stem for path in (folder / "cells").glob("*.json")} - set(todo.keys)
    others -= {cell.key for cell in trainings_of(todo.cells)}
    if others:
        yield f"{len(others)} cells of other settings stay in {folder / 'cells'} and are not part of the results."
    revisions = {(read_cell(folder, cell.key) or {}).get("git_revision") for cell in todo.finished} - {git_revision()}
    if revisions:
        shown = ", ".join(sorted(short_revision(revision or "unknown") for revision in revisions))
        yield f"Some finished cells come from another revision of the code: {shown}. Delete them to run them again."


def _events(todo: Todo, folder: Path, means: Means, workers: int) -> Iterator[Event]:
    """Run the trainings, then the tests; a test whose training failed is recorded as failed, too.

    Both use one connection to a cluster, whose processes import the libraries only once.
    """
    with nullcontext() if means.ray is None else connected(import_ray()):
        yield from _in_order(todo, folder, means, workers)


def _in_order(todo: Todo, folder: Path, means: Means, workers: int) -> Iterator[Event]:
    yield from _run(todo.trainings, folder, means, workers)
    ready: list[Cell] = []
    for cell in todo.pending:
        if cell.training is None:
            ready.append(cell)
        elif is_finished(folder, cell.training.key):
            ready.append(replace(cell, checkpoint=str(cell_path(folder, cell.training.key, "ckpt"))))
        else:
            reason = (read_cell(folder, cell.training.key) or {}).get("error")
            yield _failed(cell, TrainingError(f"The training on {cell.training.data} failed: {reason}"), folder)
    yield from _run(ready, folder, means, workers)


def _failed(cell: Cell, error: Exception, folder: Path) -> Event:
    result = failed_result(cell, error)
    write_cell(folder, result)
    return Event(cell, result.row)


def _run(cells: Sequence[Cell], folder: Path, means: Means, workers: int) -> Iterator[Event]:
    if not cells:
        return
    errors = prepare(cells)
    for cell in cells:
        if part_of(cell) in errors:
            yield _failed(cell, errors[part_of(cell)], folder)
    ready = [cell for cell in cells if part_of(cell) not in errors]
    where = places(cells[0].device, workers)
    if means.ray is not None:
        yield from run_on_ray(ready, folder, means.ray)
    elif workers == 1:
        yield from run_here(ready, folder, where[0])
    else:
        yield from run_in_processes(ready, folder, where)


def _check_device(cells: Sequence[Cell]) -> None:
    if any(cell.device == "cuda" for cell in cells) and not torch.cuda.is_available():
        msg = "Expected a GPU that PyTorch can use for device=cuda, but there is none. Set device=cpu or device=auto."
        raise ConfigError(msg)

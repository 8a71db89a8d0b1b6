"""Runner for a Ray cluster: one task per cell. Needs the extra `ray` here and this package on the cluster.

Tasks send their results back and the process that asked for them writes the files, so the machines of the cluster need
the data, and methods of the user's own, under the same path but no common results folder. The requesting process needs
the data, too, because it prepares them. A task whose machine is lost runs again elsewhere; each cell is one file, so
none is counted twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.results import CellResult, write_cell
from dualclip_lightning.benchmark.run.execute import failed_result, run_cell
from dualclip_lightning.benchmark.run.local_runner import Event
from dualclip_lightning.benchmark.run.machine import CellPlace
from dualclip_lightning.utilities.ray_cluster import connected, enter, import_ray

MAX_RETRIES = 3
"""Number of retries of a cell when its machine or process is lost."""


class Resources(NamedTuple):
    """Resources of one cell on the cluster."""

    cpus: float = 1
    gpus: float = 0
    """GPUs; a fraction such as 0.5 lets cells share a GPU."""


def run_on_ray(cells: Iterable[Cell], folder: Path, resources: Resources) -> Iterator[Event]:
    """Run cells as tasks of the cluster in RAY_ADDRESS, of one on this machine, or of a new one.

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """
    ray = import_ray()
    with connected(ray):
        task = ray.remote(_run).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=MAX_RETRIES, scheduling_strategy="SPREAD"
        )
        place = CellPlace(threads=max(int(resources.cpus), 1))
        pending = {task.remote(cell, place, Path.cwd(), _checkpoint(cell)): cell for cell in cells}
        begun: set[str] = set()
        while pending:
            yield from _begin(list(pending.values())[: _slots(ray, resources)], begun)
            (reference,), _ = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(reference)
            yield from _begin([cell], begun)  # one may overtake another whose machine was lost
            try:
                result = ray.get(reference)
            except ray.exceptions.RayError as error:
                result = failed_result(cell, error)
            write_cell(folder, result)
            yield Event(cell, result.row)


def _begin(cells: Iterable[Cell], begun: set[str]) -> Iterator[Event]:
    """Yield an event for each cell that starts. Ray starts tasks in order, as many as there are slots."""
    for cell in cells:
        if cell.key not in begun:
            begun.add(cell.key)
            yield Event(cell, None)


def _slots(ray: Any, resources: Resources) -> int:
    """Return the number of cells that fit on the current cluster at once."""
    whole = ray.cluster_resources()
    needs = {"CPU": resources.cpus, "GPU": resources.gpus}
    rooms = [int(whole.get(name, 0) // need) for name, need in needs.items() if need]
    return max(min(rooms, default=1), 1)


def _checkpoint(cell: Cell) -> bytes | None:
    """Return the content of the checkpoint of a cell's training, which is in the results folder."""
    return Path(cell.checkpoint).read_bytes() if cell.training is not None and cell.checkpoint is not None else None


def _run(cell: Cell, place: CellPlace, directory: Path, checkpoint: bytes | None) -> CellResult:
    """Run a cell in a directory, which holds methods and relative paths, if this machine has it."""
    enter(directory)
    with tempfile.TemporaryDirectory(prefix="dualclip-") as folder:
        if checkpoint is not None:
            path = Path(folder) / "trained.ckpt"
            path.write_bytes(checkpoint)
            cell = replace(cell, checkpoint=str(path))
        return run_cell(cell, place)

"""Number and resources of the workers for which a Ray cluster has room."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from dualclip_lightning.predict.judge import Share
from dualclip_lightning.predict.shards.worker import Worker

logger = logging.getLogger(__name__)


class WorkerResources(NamedTuple):
    """Resources of one worker on the cluster."""

    cpus: int
    gpus: int


def choose_cluster_workers(
    ray: Any, arguments: Mapping[str, Any], count: int | None = None, cpus: int | None = None
) -> tuple[list[Worker], WorkerResources]:
    """Return the workers of a run on the cluster, and the resources of each.

    Args:
        ray: Ray, connected to the cluster.
        arguments: arguments for `make_detector`; "auto" is a GPU if any machine of the cluster has one.
        count: number of workers; None for all that there is room for. More than that run one after another.
        cpus: CPUs of each worker, which are its threads; None for one beside a GPU, and otherwise for as many as this
            process would use, because the last digits of scores depend on the number of threads.

    Raises:
        ValueError: If a number is below one, or no machine has the resources for a worker.
    """
    for name, number in {"devices": count, "cpus_per_worker": cpus}.items():
        if number is not None and number < 1:
            msg = f"Expected {name} to be at least 1, but got {number}."
            raise ValueError(msg)
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    resources = _resources(machines, arguments.get("device", "auto"), cpus)
    room = sum(_room(machine, resources) for machine in machines)
    if not room:
        msg = f"No machine of the Ray cluster has {resources.cpus} CPUs and {resources.gpus} GPUs for a worker."
        msg += " Lower --cpus-per-worker, choose another --device, or add machines."
        raise ValueError(msg)
    count = room if count is None else count
    if count > room:
        logger.warning("The Ray cluster has room for %d of %d workers; the others follow later.", room, count)
    device = "cuda" if resources.gpus else "cpu"
    workers = [Worker({**arguments, "device": device}, resources.cpus, Share(part, count)) for part in range(count)]
    return workers, resources


def _resources(machines: Sequence[Mapping[str, float]], device: str, cpus: int | None) -> WorkerResources:
    gpus = int(device == "cuda" or (device == "auto" and any(machine.get("GPU", 0) >= 1 for machine in machines)))
    if cpus is None:
        largest = int(max((machine.get("CPU", 0) for machine in machines), default=0))
        cpus = 1 if gpus else max(1, min(torch.get_num_threads(), largest))
    return WorkerResources(cpus, gpus)


def _room(machine: Mapping[str, float], resources: WorkerResources) -> int:
    """Return the number of workers that a machine has room for."""
    room = int(machine.get("CPU", 0) // resources.cpus)
    return min(room, int(machine.get("GPU", 0) // resources.gpus)) if resources.gpus else room

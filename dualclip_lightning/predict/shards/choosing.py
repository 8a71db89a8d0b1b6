"""Choice of the processes that score a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dualclip_lightning.predict.shards.processes import ProcessRunner, choose_workers
from dualclip_lightning.predict.shards.ray_room import choose_cluster_workers
from dualclip_lightning.predict.shards.ray_runner import RayRunner
from dualclip_lightning.predict.shards.worker import Runner
from dualclip_lightning.utilities.ray_cluster import connected, import_ray


@contextmanager
def runner_of(
    name: str, arguments: Mapping[str, Any], devices: int | None, cpus_per_worker: int | None
) -> Iterator[Runner | None]:
    """Yield the runner that the options of a run ask for; None for this process alone. It leaves a cluster at the end.

    Args:
        name: "local" or "ray".
        arguments: arguments for `make_detector`.
        devices: number of workers; None for one on this machine, and for all that a cluster has room for.
        cpus_per_worker: CPUs of each worker of a cluster; None for the default of `choose_cluster_workers`.

    Raises:
        ValueError: If there is no room for the workers.
        ModuleNotFoundError: If Ray is not installed.
        ClusterError: If the cluster cannot be reached.
    """
    if name == "ray":
        ray = import_ray()
        with connected(ray):
            yield RayRunner(ray, *choose_cluster_workers(ray, arguments, devices, cpus_per_worker))
        return
    workers = choose_workers(arguments, 1 if devices is None else devices)
    yield ProcessRunner(workers) if len(workers) > 1 else None

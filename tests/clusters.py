"""Ray clusters whose machines are processes of this one."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import ray_worker
from tests.interpreters import prepared_context

SETTINGS: dict[str, Any] = {
    "health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3,
    "health_check_timeout_ms": 60_000, "worker_niceness": 0,
}  # fmt: skip
"""Settings of Ray with which a lost machine, whose port is closed, is noticed at once, and a busy one is not lost.

Ray's workers would have a niceness of 15, and beside other busy processes they would stand still.
"""
MACHINE = {"setup_worker_path": ray_worker.__file__}
HEAD = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False, "_system_config": SETTINGS}
"""Without the services that no test asks."""


@contextmanager
def running_cluster(modules: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """Run a cluster of two machines of one core; the test is skipped without Ray.

    Args:
        modules: what the workers need, which is imported once for all of them.

    Yields:
        The cluster, and the machine that is not the head, without which there is no cluster.
    """
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    with _forks(modules):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **MACHINE, **HEAD})
        try:
            yield cluster, cluster.add_node(num_cpus=1, **MACHINE)
        finally:
            cluster.shutdown()


@contextmanager
def _forks(modules: Sequence[str]) -> Iterator[None]:
    """Serve the forks that the machines request, of an interpreter that has imported these modules."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = str(Path(folder, "forks"))
        listening.bind(path)
        listening.listen()
        server = prepared_context().Process(target=ray_worker.serve_forks, args=(listening, modules))
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ray_worker.SOCKET, path)  # which machines and workers inherit
            try:
                yield
            finally:
                server.kill()
                server.join()

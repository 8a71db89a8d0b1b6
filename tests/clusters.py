"""Ray clusters whose machines are processes of this one."""

from __future__ import annotations

from typing import Any

import pytest

SETTINGS: dict[str, Any] = {
    "health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3,
    "health_check_timeout_ms": 60_000, "worker_niceness": 0,
}  # fmt: skip
"""Settings of Ray with which a lost machine, whose port is closed, is noticed at once, and a busy one is not lost.

Ray's workers would have a niceness of 15, and beside other busy processes they would take minutes to import PyTorch.
"""


def start_cluster(with_head: bool = False) -> tuple[Any, list[Any]]:
    """Start a cluster of two machines of one core; the test is skipped without Ray.

    Args:
        with_head: whether the head, without which there is no cluster, is one of the two.

    Returns:
        The cluster, and the machines other than the head.
    """
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": int(with_head), "_system_config": SETTINGS})
    return cluster, [cluster.add_node(num_cpus=1) for _ in range(2 - with_head)]

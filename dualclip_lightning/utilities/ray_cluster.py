"""Connection to a Ray cluster, which needs the extra `ray`."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualclip_lightning.utilities.extras import require_extra


class ClusterError(ConnectionError):
    """Error for a cluster that cannot be reached."""


def import_ray() -> Any:
    """Import Ray.

    Raises:
        ModuleNotFoundError: Ray is not installed; the message has the command.
    """
    require_extra("ray", "A run on a cluster", "ray")
    import ray  # noqa: PLC0415

    return ray


@contextmanager
def connected(ray: Any) -> Iterator[None]:
    """Connect to the cluster in RAY_ADDRESS, to one on this machine, or to a new one, unless already connected.

    Raises:
        ClusterError: The cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        msg = f"The Ray cluster cannot be reached ({error}). Check RAY_ADDRESS, and whether the cluster runs."
        raise ClusterError(msg) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminated)  # which Ray has replaced
    try:
        yield
    finally:
        ray.shutdown()


def enter(directory: Path) -> None:
    """Change a process of the cluster, which serves only one run, to the directory of that run if its machine has it.

    It holds relative paths, and methods of the user's own.
    """
    if directory.is_dir():
        os.chdir(directory)

"""One run on several devices, with one process per device that scores its share and sends each result immediately.

The references depend only on the set of images, so that every process knows them and none waits for another; groups of
images that reference each other stay on one device. Nothing is padded, so no image is scored twice and none is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import torch

from dualclip_lightning.images.sources import Source
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome, Share
from dualclip_lightning.utilities.processes import ChildProcess, ParentProcess, ProcessEndedError, ProcessPool


class DeviceError(RuntimeError):
    """Error for a process that ended before its share was done."""


class Worker(NamedTuple):
    """Settings of a process that scores its share."""

    arguments: Mapping[str, Any]
    """Arguments of its detector, as for `make_detector`."""
    threads: int
    """Number of CPU threads for computation."""
    share: Share


def make_detector(arguments: Mapping[str, Any]) -> Detector:
    """Make a detector from its arguments, or load it if they name a bundle.

    Raises:
        Exception: Same as `Detector` or `Detector.load`.
    """
    if "bundle" not in arguments:
        return Detector(**arguments)
    return Detector.load(arguments["bundle"], **{name: arguments[name] for name in arguments if name != "bundle"})


def choose_workers(arguments: Mapping[str, Any], count: int) -> list[Worker]:
    """Return the settings of `count` processes, one per GPU, or sharing the cores.

    Args:
        arguments: arguments for `make_detector`; "auto" and "cuda" use `count` GPUs, any other device is shared.
        count: number of devices.

    Raises:
        ValueError: If `count` is less than one or exceeds the number of GPUs.
    """
    if count < 1:
        msg = f"Expected devices to be at least 1, but got {count}."
        raise ValueError(msg)
    name = arguments.get("device", "auto")
    gpus = torch.cuda.device_count() if name in {"auto", "cuda"} else 0
    if gpus and count > gpus:
        msg = f"Expected at most {gpus} devices, as many as there are GPUs, but got {count}."
        raise ValueError(msg)
    threads = max(1, torch.get_num_threads() // count)
    devices = [f"cuda:{number}" if gpus else "cpu" if name == "auto" else name for number in range(count)]
    return [
        Worker({**arguments, "device": device}, threads, Share(number, count)) for number, device in enumerate(devices)
    ]


def score_on_devices(
    workers: Sequence[Worker], sources: Sequence[Source], done: AbstractSet[int] = frozenset()
) -> Iterator[tuple[int, Outcome]]:
    """Same as `Detector.score`, but with each worker in its own process.

    Raises:
        DeviceError: If a process ended early, for example because the system was out of memory.
        Exception: Any error that a worker raised.
    """
    with ProcessPool() as pool:
        busy = {pool.start(_serve, worker, sources, done) for worker in workers}
        while busy:
            for child in pool.ready(busy):
                message = _receive(child)
                if message is None:
                    busy.remove(child)
                    child.join()
                else:
                    yield message


def _receive(child: ChildProcess) -> tuple[int, Outcome] | None:
    """Return the result that a worker has sent; None if it is done."""
    try:
        message = child.receive()
    except ProcessEndedError as error:
        msg = f"A process ended with exit code {error.exit_code} before its images were done."
        raise DeviceError(f"{msg} If memory ran out, lower batch_size or devices.") from error
    if isinstance(message, Exception):
        raise message
    return message


def _serve(parent: ParentProcess, worker: Worker, sources: Sequence[Source], done: AbstractSet[int]) -> None:
    """Score a share and send the results, then None; errors are sent as well."""
    torch.set_num_threads(worker.threads)
    try:
        for outcome in make_detector(worker.arguments).score(sources, done, share=worker.share):
            parent.send(outcome)
        parent.send(None)
    except Exception as error:  # noqa: BLE001  # raised again in the parent process
        parent.send(error)

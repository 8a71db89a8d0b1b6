"""One run on several devices: a process each, which scores its share and sends what it finds as it finds it.

Who references whom depends on all images alone, so that every process knows it and none waits for another; groups of
images that reference each other stay on one device. Nothing is padded, so no image is scored twice and none is missing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

import torch

from dualclip_lightning.images.sources import Source
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome, Share

STOP_SECONDS = 5.0


class DeviceError(RuntimeError):
    """A process ended before its share was done."""


class Worker(NamedTuple):
    """What a process needs to know to score its share."""

    arguments: Mapping[str, Any]
    """Of its `Detector`."""
    threads: int
    """To compute with, on the CPU."""
    share: Share


def choose_workers(arguments: Mapping[str, Any], count: int) -> list[Worker]:
    """So many processes on the GPUs in turn, or sharing the cores.

    Args:
        arguments: of a `Detector`; "auto" and "cuda" mean as many GPUs, any other device is shared.
        count: of devices.

    Raises:
        ValueError: fewer than one, or more than there are GPUs.
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
    """Score as `Detector.score` does, with each worker in a process of its own.

    Raises:
        DeviceError: a process ended early, for example because the system took its memory back.
        Exception: whatever a worker raised.
    """
    context = get_context("spawn")  # a fork would inherit threads and CUDA in an unusable state
    processes: dict[Any, SpawnProcess] = {}
    try:
        for worker in workers:
            ours, theirs = context.Pipe(duplex=False)
            processes[ours] = process = context.Process(target=_serve, args=(theirs, worker, sources, done))
            process.start()
            theirs.close()  # so that the connection ends with the process
        while processes:
            for connection in wait(list(processes)):
                yield from _received(connection, processes)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join(STOP_SECONDS)


def _received(connection: Any, processes: dict[Any, SpawnProcess]) -> Iterator[tuple[int, Outcome]]:
    """Return what a worker has sent; one that is done is taken off the list."""
    try:
        message = connection.recv()
    except (EOFError, OSError) as error:
        process = processes.pop(connection)
        process.join()
        msg = f"A process ended with exit code {process.exitcode} before its images were done."
        raise DeviceError(f"{msg} If memory ran out, lower batch_size or devices.") from error
    if isinstance(message, Exception):
        raise message
    if message is None:
        processes.pop(connection).join()
    else:
        yield message


def _serve(connection: Connection, worker: Worker, sources: Sequence[Source], done: AbstractSet[int]) -> None:
    """Score a share; what goes wrong is sent, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides what an interrupt means
    torch.set_num_threads(worker.threads)
    try:
        for outcome in Detector(**worker.arguments).score(sources, done, share=worker.share):
            connection.send(outcome)
        connection.send(None)
    except BrokenPipeError:  # nobody listens any more
        return
    except Exception as error:  # noqa: BLE001  # raised again where the images were asked for
        connection.send(error)

"""Workers on the machines of a Ray cluster, which need this package, and images and weights under the same paths.

Ray places each worker where its CPUs and GPUs are free. A worker computes only while the process that started the run
takes its outcomes and writes them to the journal, so that neither a lost worker, a lost machine nor the end of that
process costs more than the images in work. A worker that dies is replaced by one for the remainder of its share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from platform import node
from typing import Any, NamedTuple

from dualclip_lightning.images.sources import Source
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.predict.shards.ray_room import WorkerResources
from dualclip_lightning.predict.shards.worker import DeviceError, Worker, score_settings, score_share
from dualclip_lightning.utilities.interrupts import remembered_interrupts
from dualclip_lightning.utilities.ray_cluster import enter

logger = logging.getLogger(__name__)

MOST_DEATHS = 5
"""Number of workers that may die one after another without a new outcome of their share: more than one for a lost
machine, on which Ray may start another worker before it notices the loss."""
AHEAD = 2
"""Number of outcomes that are requested of each worker: the one in work, and the next, so that it does not wait."""


class Sight(NamedTuple):
    """What a worker needs to see of the file system of the machine on which the run was started."""

    directory: Path
    """The working directory."""
    images: tuple[str, ...]
    """A readable image of each folder."""


@dataclass(frozen=True)
class RayRunner:
    """Runner with each worker in a process of a Ray cluster.

    Args:
        ray: Ray, connected to the cluster.
        workers: the workers.
        resources: resources of each.
    """

    ray: Any
    workers: Sequence[Worker]
    resources: WorkerResources

    def __call__(
        self, detector: Detector, sources: Sequence[Source], done: AbstractSet[int] = frozenset()
    ) -> Iterator[tuple[int, Outcome]]:
        """See `Runner`.

        Raises:
            DeviceError: If the workers of a share died too often.
            ValueError: If a machine has other settings, or does not see the images.
            Exception: Any error that a worker raised.
        """
        actor = self.ray.remote(_ShareActor).options(
            num_cpus=self.resources.cpus, num_gpus=self.resources.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        common = self.ray.put((score_settings(detector), sources, _sight(sources)))
        shares = [_ShareInWork(self.ray, actor, worker, common, set(done)) for worker in self.workers]
        with remembered_interrupts() as check_interrupts:
            try:
                for outcome in _gather(self.ray, shares):
                    check_interrupts()
                    yield outcome
            finally:
                for share in shares:
                    share.stop()


class _ShareInWork:
    """A share in work by a worker of the cluster, which is replaced if it dies."""

    def __init__(self, ray: Any, actor: Any, worker: Worker, common: Any, done: set[int]) -> None:
        self._ray, self._actor, self._given, self._done = ray, actor, (worker, common), done
        self._deaths = 0
        self._handle: Any = None

    def start(self) -> list[Any]:
        """Start a worker on what is left, and return the requests to it."""
        self._handle = self._actor.remote(*self._given, frozenset(self._done))
        return [self.request() for _ in range(AHEAD)]

    def request(self) -> Any:
        """Request another outcome."""
        return self._handle.next_outcome.remote()

    def count(self, position: int) -> None:
        """Count an image as done."""
        self._done.add(position)
        self._deaths = 0

    def restart(self, error: Exception) -> list[Any]:
        """Start another worker after one has died, and return the requests to it.

        Raises:
            DeviceError: If too many have died.
        """
        self.stop()
        self._deaths += 1
        reason = str(error).strip().splitlines()[0]
        if self._deaths >= MOST_DEATHS:
            msg = (
                f"{MOST_DEATHS} workers of the Ray cluster ended at the same images: {reason} If memory ran out, lower"
            )
            raise DeviceError(f"{msg} --batch-size or --devices.") from error
        logger.warning("A worker of the Ray cluster ended; another one continues: %s", reason)
        return self.start()

    def stop(self) -> None:
        """End the worker, so that another one may have its resources."""
        if self._handle is not None:
            self._ray.kill(self._handle)
            self._handle = None


def _gather(ray: Any, shares: Sequence[_ShareInWork]) -> Iterator[tuple[int, Outcome]]:
    """Yield the outcomes of all shares as they come."""
    waiting = {request: share for share in shares for request in share.start()}
    while waiting:
        (request,), _ = ray.wait(list(waiting), num_returns=1)
        share = waiting.pop(request)
        try:
            outcome = ray.get(request)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            waiting = _without(waiting, share) | dict.fromkeys(share.restart(error), share)
            continue
        if outcome is None:
            waiting = _without(waiting, share)
            share.stop()
        else:
            share.count(outcome[0])
            waiting[share.request()] = share
            yield outcome


def _without(waiting: Mapping[Any, _ShareInWork], share: _ShareInWork) -> dict[Any, _ShareInWork]:
    return {request: other for request, other in waiting.items() if other is not share}


class _ShareActor:
    """Worker in a process of the cluster, which computes an outcome when it is asked for one."""

    def __init__(
        self, worker: Worker, common: tuple[Mapping[str, Any], Sequence[Source], Sight], done: AbstractSet[int]
    ) -> None:
        settings, sources, sight = common
        self._outcomes = _score_in_sight(worker, settings, sources, done, sight)

    def next_outcome(self) -> tuple[int, Outcome] | None:
        """Return the next outcome, or None if there are no more."""
        return next(self._outcomes, None)


def _score_in_sight(
    worker: Worker, settings: Mapping[str, Any], sources: Sequence[Source], done: AbstractSet[int], sight: Sight
) -> Iterator[tuple[int, Outcome]]:
    enter(sight.directory)
    _check_sight(sight)
    yield from score_share(worker, settings, sources, done)


def _sight(sources: Sequence[Source]) -> Sight:
    images: dict[str, str] = {}
    for source in sources:
        folder = os.path.dirname(source.name)  # noqa: PTH120 - a path of each of many images
        if folder not in images and os.access(source.name, os.R_OK):
            images[folder] = source.name
    return Sight(Path.cwd(), tuple(images.values()))


def _check_sight(sight: Sight) -> None:
    """Check that the images are readable here.

    Raises:
        ValueError: If one is not.
    """
    missing = next((name for name in sight.images if not os.access(name, os.R_OK)), None)
    if missing is not None:
        msg = (
            f"Machine '{node()}' of the Ray cluster cannot read '{missing}'. The images must be under the same path on "
            "every machine, for example on a shared file system."
        )
        raise ValueError(msg)

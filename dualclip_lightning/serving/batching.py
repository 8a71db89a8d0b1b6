"""Scoring of images from many requests in common batches, by one thread with a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING

from dualclip_lightning.images.reading.decoding import read_content
from dualclip_lightning.images.sources import Source
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

RECENT = 0.2
"""Weight of the latest batch in the mean of the seconds per image."""


class QueueFullError(Exception):
    """Error for images that do not fit into the queue."""


class QueueClosedError(Exception):
    """Error for images that are not scored because the service stops."""


@dataclass(frozen=True, eq=False)
class _Job:
    """Content of an image file, and the outcome to come."""

    content: bytes
    future: Future[Outcome] = field(default_factory=Future)


class BatchScorer:
    """A thread that scores the images waiting in a queue, as many at a time as the detector takes in a batch.

    Images never wait for a batch to fill: the thread takes what is there, so batches grow with the load. The thread
    runs while the context is entered.

    Args:
        detector: detector whose references do not depend on the images of a call.
        most: largest number of images in the queue, besides those that are being scored.
        observe: function that is called after every batch with its number of images and its seconds.
    """

    def __init__(self, detector: Detector, most: int, observe: Callable[[int, float], None]) -> None:
        self.detector = detector
        self.most = most
        self._observe = observe
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the batch that is being scored; all waiting images get a `QueueClosedError`."""
        with self._changed:
            self._closed = True
            left = [job for job in self._waiting if job.future.set_running_or_notify_cancel()]
            self._waiting.clear()
            self._changed.notify()
        for job in left:
            job.future.set_exception(QueueClosedError())
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Number of images in the queue."""
        return len(self._waiting)

    @property
    def delay(self) -> float:
        """Seconds until the images in the queue will be scored, from the mean time of recent images."""
        return self.waiting * self._seconds

    def submit(self, contents: Sequence[bytes]) -> list[Future[Outcome]]:
        """Append the images of a request to the queue, all or none, and return their outcomes to come.

        A future that is cancelled before its image is scored takes the image out of the queue.

        Raises:
            QueueFullError: If they do not fit.
            QueueClosedError: If the service stops.
        """
        jobs = [_Job(content) for content in contents]
        with self._changed:
            if self._closed:
                raise QueueClosedError
            if any(job.future.cancelled() for job in self._waiting):
                self._waiting = deque(job for job in self._waiting if not job.future.cancelled())
            if len(self._waiting) + len(jobs) > self.most:
                raise QueueFullError
            self._waiting.extend(jobs)
            self._changed.notify()
        return [job.future for job in jobs]

    def _run(self) -> None:
        while jobs := self._take():
            start = time.perf_counter()
            self._score(jobs)
            seconds = time.perf_counter() - start
            each = seconds / len(jobs)
            self._seconds = RECENT * each + (1 - RECENT) * self._seconds if self._seconds else each
            self._observe(len(jobs), seconds)

    def _take(self) -> list[_Job]:
        """Wait for images and return the next batch; empty if the queue is closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                count = min(len(self._waiting), self.detector.batch_size)
                taken = [self._waiting.popleft() for _ in range(count)]
                batch = [job for job in taken if job.future.set_running_or_notify_cancel()]
                if batch or self._closed:
                    return batch

    def _score(self, jobs: Sequence[_Job]) -> None:
        """Score a batch; if that fails, score its images one by one, so that one image does not affect others."""
        try:
            for position, outcome in self.detector.score([self._source(job.content) for job in jobs]):
                jobs[position].future.set_result(outcome)
        except Exception as error:
            left = [job for job in jobs if not job.future.done()]
            if len(jobs) > 1:
                for job in left:
                    self._score([job])
                return
            logger.exception("An image could not be scored.")
            for job in left:
                job.future.set_exception(error)

    def _source(self, content: bytes) -> Source:
        """Return an upload as a source.

        Its name is made from the content, because random choices of a method depend on the name, and names that clients
        choose could be those of files here.
        """
        name = f"uploaded:/{sha256(content).hexdigest()[:16]}"
        return Source(name, partial(read_content, content, self.detector.max_megapixels))

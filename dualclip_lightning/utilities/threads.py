"""Work in threads beside the caller, with a bounded number of tasks at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Crew:
    """Threads with a bounded number of tasks; leaving the context cancels tasks that have not begun.

    Args:
        threads: number of threads.
        most: number of tasks that may be running, waiting, or finished with a result that nobody has taken.
    """

    def __init__(self, threads: int, most: int) -> None:
        self.most = most
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="crew")
        self._begun: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, task: Callable[[Item], object], item: Item) -> None:
        """Begin a task whose result and error do not matter; if there are `most`, wait for the oldest first."""
        if len(self._begun) == self.most:
            wait([self._begun.popleft()])
        self._begun.append(self._pool.submit(task, item))

    def wait(self) -> None:
        """Wait for all tasks that `begin` began."""
        wait(self._begun)
        self._begun.clear()

    def map(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results of a task in the order of its items, which are taken as they are needed.

        Raises:
            Exception: The error of the first item, in their order, whose task failed.
        """
        ahead: deque[Future[Result]] = deque()
        for item in items:
            if len(ahead) == self.most:
                yield ahead.popleft().result()
            ahead.append(self._pool.submit(task, item))
        while ahead:
            yield ahead.popleft().result()

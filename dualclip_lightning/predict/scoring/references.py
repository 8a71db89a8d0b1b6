"""With which images an image is compared: others of the same run, those just before it, or a folder of its product."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from threading import Lock
from typing import Protocol

from dualclip_lightning.pairing import candidates, random_groups, whole_groups
from dualclip_lightning.predict.input.reader import Reference


class Order(Protocol):
    """In which order images are scored, and whom each may take as its references, best first."""

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Positions of all images, about `size` at a time, such that references tend to be together."""

    def candidates(self, position: int) -> Iterator[int]:
        """Positions of other images. Those that turn out unreadable are passed over."""


class PairOrder:
    """Random pairs, or groups of K + 1, from the seed and the set of names alone (`pairing.random_groups`).

    Each image has the references that the method has through Lightning. Where a partner cannot be read, an image of
    the next group takes its place.
    """

    def __init__(self, names: Sequence[str], num_references: int, seed: int) -> None:
        self.groups = random_groups(names, num_references, seed)
        self._home = {member: (g, m) for g, group in enumerate(self.groups) for m, member in enumerate(group)}

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Whole groups."""
        yield from (list(chain.from_iterable(groups)) for groups in whole_groups(self.groups, size))

    def candidates(self, position: int) -> Iterator[int]:
        """The next ones around the group, then the groups that follow."""
        yield from candidates(self.groups, *self._home[position])


class InSequence:
    """One after another, as a camera gives them.

    Args:
        count: how many images there are.
        stream: whether an image is compared with those before it, the latest first; else with none of them.
    """

    def __init__(self, count: int, *, stream: bool) -> None:
        self.count = count
        self.stream = stream

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Return the images in the order given."""
        for start in range(0, self.count, size):
            yield list(range(start, min(start + size, self.count)))

    def candidates(self, position: int) -> Iterator[int]:
        """Return the images before it."""
        return iter(range(position - 1, -1, -1) if self.stream else ())


class StreamBank:
    """The last images of a stream as references, for detectors that get one image at a time. Safe between threads."""

    def __init__(self, size: int) -> None:
        self._sets: deque[Reference] = deque(maxlen=size)
        self._lock = Lock()

    def add(self, patches: Reference) -> None:
        """Keep an image; the oldest leaves when the bank is full."""
        with self._lock:
            self._sets.append(patches)

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._sets.clear()

    def latest(self) -> list[Reference]:
        """Return what is kept, the latest first."""
        with self._lock:
            return list(reversed(self._sets))

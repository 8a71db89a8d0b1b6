"""The images with which an image is compared: others of the same run, those just before it, or given ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from threading import Lock
from typing import Protocol

from dualclip_lightning.pairing import candidates, random_groups, whole_groups
from dualclip_lightning.predict.input.reader import Reference


class Order(Protocol):
    """The order in which images are scored, and the images that each may take as references, best first."""

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Yield the positions of all images, about `size` at a time, so that references tend to be together."""

    def candidates(self, position: int) -> Iterator[int]:
        """Yield the positions of other images; those that turn out to be unreadable are skipped."""


class PairOrder:
    """Random pairs, or groups of K + 1, that depend only on the seed and the set of names (`pairing.random_groups`).

    Each image has the same references as with Lightning. If a partner cannot be read, an image of
    the next group takes its place.
    """

    def __init__(self, names: Sequence[str], num_references: int, seed: int) -> None:
        self.groups = random_groups(names, num_references, seed)
        self._home = {member: (g, m) for g, group in enumerate(self.groups) for m, member in enumerate(group)}

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Yield the positions in whole groups."""
        yield from (list(chain.from_iterable(groups)) for groups in whole_groups(self.groups, size))

    def candidates(self, position: int) -> Iterator[int]:
        """Yield the following members of the group, cyclically, then those of the groups that follow."""
        yield from candidates(self.groups, *self._home[position])


class InSequence:
    """Images in the order given, as from a camera.

    Args:
        count: number of images.
        stream: if True, an image is compared with those before it, the latest first; otherwise with none.
    """

    def __init__(self, count: int, *, stream: bool) -> None:
        self.count = count
        self.stream = stream

    def chunks(self, size: int) -> Iterator[list[int]]:
        """Yield the positions in the order given."""
        for start in range(0, self.count, size):
            yield list(range(start, min(start + size, self.count)))

    def candidates(self, position: int) -> Iterator[int]:
        """Return the earlier positions, the latest first, or none without a stream."""
        return iter(range(position - 1, -1, -1) if self.stream else ())


class StreamBank:
    """The last images of a stream as references, for detectors that get one image at a time; thread-safe."""

    def __init__(self, size: int) -> None:
        self._sets: deque[Reference] = deque(maxlen=size)
        self._lock = Lock()

    def add(self, patches: Reference) -> None:
        """Add an image; the oldest is removed when the bank is full."""
        with self._lock:
            self._sets.append(patches)

    def clear(self) -> None:
        """Remove all images."""
        with self._lock:
            self._sets.clear()

    def latest(self) -> list[Reference]:
        """Return the images in the bank, the latest first."""
        with self._lock:
            return list(reversed(self._sets))

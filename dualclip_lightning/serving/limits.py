"""Limits of the service; importing them takes no time."""

from __future__ import annotations

from dataclasses import dataclass

MEGA = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Limits that keep the memory and the time of every request bounded.

    Args:
        images: largest number of images in a request.
        body: largest body of a request in bytes.
        held: largest sum of the bodies of all requests that are being read or answered, in bytes.
        waiting: largest number of images that wait to be scored.
        seconds: time for sending a request, and again for answering it.

    Raises:
        ValueError: If one is not positive, or if a request at its limit could never be accepted.
    """

    images: int = 16
    body: int = 32 * MEGA
    held: int = 512 * MEGA
    waiting: int = 64
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                msg = f"Expected the limit of {name} to be positive, but got {value:g}."
                raise ValueError(msg)
        if self.images > self.waiting:
            msg = f"Expected a queue of at least {self.images} images, the most of a request, but got {self.waiting}."
            raise ValueError(msg)
        if self.body > self.held:
            msg = f"Expected uploads of at least {self.body / MEGA:g} MB to be held, the most of a request, but got "
            msg += f"{self.held / MEGA:g} MB."
            raise ValueError(msg)

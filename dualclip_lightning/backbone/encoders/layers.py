"""Features of several layers, and the numbers of these layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple

from torch import Tensor


class IntermediateFeatures(NamedTuple):
    """Features of a batch, not normalised."""

    class_embedding: Tensor
    """Class embeddings [B, D]; in CLIP's shared space if the tower is CLIP's; [B, 0] if they were not asked for."""
    layers: tuple[Tensor, ...]
    """Patch tokens [B, h, w, C] of each selected block."""


def relative_blocks(depth: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return the blocks at shares of the depth in (0, 1], counted from 1 in ascending order.

    A share between two blocks means the later one: 0.5 is block 6 of 12, 12 of 24, and 2 of 3.
    """
    return tuple(sorted({ceil(round(depth * share, 6)) for share in shares}))  # 0.7 * 10 is 7.000000000000001


def quarter_blocks(depth: int) -> tuple[int, ...]:
    """Return the last block of each quarter of a tower, counted from 1: (3, 6, 9, 12) of 12, (1, 2, 3) of 3."""
    return relative_blocks(depth, (0.25, 0.5, 0.75, 1.0))


def check_layers(
    layers: Sequence[int] | None, depth: int, default: Callable[[int], Sequence[int]] = quarter_blocks
) -> tuple[int, ...]:
    """Return numbers of blocks in ascending order; None means those that `default` gives for the depth.

    Raises:
        ValueError: the tower does not have a block.
    """
    chosen = tuple(sorted(set(default(depth) if layers is None else layers)))
    if not chosen or not set(chosen) <= set(range(1, depth + 1)):
        msg = f"layers must name blocks from 1 to {depth} of this tower, but got {list(layers or ())}."
        raise ValueError(msg)
    return chosen

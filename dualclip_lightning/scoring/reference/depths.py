"""Checks of what of a tower is compared with references."""

from __future__ import annotations

from collections.abc import Sequence

from dualclip_lightning.utilities.arguments import is_number


def check_stem(path: str, layers: Sequence[float], neighbourhood: Sequence[int]) -> None:
    """Check that nothing else is set that a stem does not have.

    Raises:
        ValueError: something is; the message names it.
    """
    for name, value, default in (("reference_layers", layers, [1.0]), ("neighbourhood", neighbourhood, [1])):
        if path == "stem" and list(value) != default:
            msg = f"reference_path 'stem' has no {name}. Leave {name} out, or set another reference_path."
            raise ValueError(msg)


def check_depths(layers: Sequence[float]) -> None:
    """Check the depths of layers.

    Raises:
        ValueError: not a list of numbers in (0, 1], or an empty one.
    """
    listed = isinstance(layers, list | tuple)
    if not listed or not layers or not all(is_number(depth) and 0 < depth <= 1 for depth in layers):
        msg = (
            "Expected reference_layers to be depths in (0, 1] such as [0.25, 0.5, 0.75, 1.0], shares of the tower's "
            f"blocks, but got {layers!r}."
        )
        raise ValueError(msg)

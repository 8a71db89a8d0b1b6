"""Rotation of images by the orientation that the camera recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

UPRIGHT = frozenset({0, 1})
"""Orientations that need no rotation; some cameras write 0 for "unknown"."""
TAG = 0x0112
"""Number of the orientation in EXIF and TIFF."""


def upright(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Rotate and mirror values [H, W, ...] by an orientation from 1 to 8 (TIFF 6.0, section 8, tag 274).

    A number outside that range counts as upright, as in Pillow.
    """
    if orientation in {5, 6, 7, 8}:
        values = values.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        values = np.flip(values, axis=0)
    if orientation in {2, 3, 6, 7}:
        values = np.flip(values, axis=1)
    return values


def orientation_notes(orientation: int) -> tuple[str, ...]:
    """Return the notes for an orientation."""
    return ("turned upright by EXIF",) if orientation in range(2, 9) else ()

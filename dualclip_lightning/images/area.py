"""How large an image may be, and how many large ones are in hand at a time."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

from PIL import Image

from dualclip_lightning.images.picture import ImageError

LARGE = 16e6
"""Pixels of an image above which it waits for its turn."""
_one_large = Lock()


def check_area(size: tuple[int, int], max_megapixels: float) -> None:
    """Refuse a size in pixels, in whatever order of sides.

    Raises:
        ImageError: more pixels than allowed, or none.
    """
    if 0 in size:
        msg = f"it has no pixels ({size[0]}x{size[1]})."
        raise ImageError(msg)
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        msg = (
            f"it has {megapixels:.1f} megapixels, above the limit of {max_megapixels:g}. "
            "Raise the limit (max_megapixels) if it is no decompression bomb."
        )
        raise ImageError(msg)


def turn(size: tuple[int, int]) -> AbstractContextManager[object]:
    """Lets large images be decoded or resized one at a time: either takes several times their size in memory."""
    return _one_large if size[0] * size[1] > LARGE else nullcontext()


def allow_megapixels(limit: float) -> None:
    """Let Pillow open images up to a limit of ours that is above its own, in this process."""
    if math.isfinite(limit):
        Image.MAX_IMAGE_PIXELS = max(int(limit * 1e6), Image.MAX_IMAGE_PIXELS or 0)

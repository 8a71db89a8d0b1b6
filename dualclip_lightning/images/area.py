"""Limits on the size of an image, and on the number of large images in memory at a time."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from threading import RLock

from PIL import Image

from dualclip_lightning.images.picture import ImageError

LARGE = 16e6
"""Number of pixels above which an image waits for its turn."""
_one_large = RLock()


def check_area(size: tuple[int, int], max_megapixels: float) -> None:
    """Check a size in pixels, with its sides in either order.

    Raises:
        ImageError: the image has more pixels than allowed, or none.
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
    """Return a lock under which large images are processed one at a time; decoding takes several times their size.

    A thread that holds it may take it again, so that an image can be read and processed in one turn.
    """
    return _one_large if size[0] * size[1] > LARGE else nullcontext()


def allow_megapixels(limit: float) -> None:
    """Raise Pillow's own limit in this process to `limit` megapixels, if that is larger."""
    if math.isfinite(limit):
        Image.MAX_IMAGE_PIXELS = max(int(limit * 1e6), Image.MAX_IMAGE_PIXELS or 0)

"""Decoded images, and the error for an image that cannot be used."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


class ImageError(ValueError):
    """Error for an image that cannot be used; its message is one plain sentence.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning import Detector
        >>> from dualclip_lightning.predict import ImageError
        >>> detector = Detector("steel plate", pretrained="demo", device="cpu", compare_with="none")
        >>> try:
        ...     detector.predict(np.full((8, 8, 3), np.nan))
        ... except ImageError as error:
        ...     print(error)
        Cannot use 'image': it has values that are not finite (NaN or infinity). Repair what produced it.
    """


class Picture(NamedTuple):
    """Decoded image."""

    pixels: Pixels
    """RGB [H, W, 3]: bytes, or single precision in [0, 1]."""
    notes: tuple[str, ...] = ()
    """Notes on the conversions that were applied when it was read."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def size_text(size: tuple[int, int]) -> str:
    """Format a height and width for pages and messages: width x height, as in image viewers."""
    return f"{size[1]}x{size[0]}"

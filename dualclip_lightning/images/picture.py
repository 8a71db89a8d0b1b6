"""An image as it is to be judged, and the error for one that cannot be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


class ImageError(ValueError):
    """An image that cannot be used; the message is one plain sentence.

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
    """An image as it is to be judged."""

    pixels: Pixels
    """RGB [H, W, 3]: bytes, or single precision in [0, 1]."""
    notes: tuple[str, ...] = ()
    """What was done to it on the way in."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


def size_text(size: tuple[int, int]) -> str:
    """A height and width as they are written in pages and messages: width x height, as image viewers have it."""
    return f"{size[1]}x{size[0]}"

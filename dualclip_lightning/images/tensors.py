"""Reading images that are not plain 8-bit RGB, and finding those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_dtype, to_image

from dualclip_lightning.images.decoding import DEEP_MODES, SIXTEEN_BIT

BROKEN_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files that are no image, not whole, or say that they are larger than memory."""


def is_deep(path: str | Path) -> bool:
    """Whether an image has more than 8 bits a channel and one channel; reads the header alone."""
    with Image.open(path) as image:
        return image.mode in DEEP_MODES


def read_rgb(path: str | Path) -> Tensor:
    """Any image as RGB in [0, 1]: [3, H, W].

    Grey and palette images become RGB and alpha is dropped, as in anomalib. 16-bit images are divided by 65535, which
    anomalib would clip to white; floating-point images must lie in [0, 1].

    Raises:
        OSError: a file that is missing, truncated or no image (for all errors of Pillow see BROKEN_IMAGE).
        ValueError: a floating-point image outside [0, 1].
    """
    with Image.open(path) as image:
        if image.mode not in DEEP_MODES:
            return to_dtype(to_image(image.convert("RGB")), torch.float32, scale=True)
        values = np.asarray(image).astype(np.float32)
        if image.mode != "F":
            values /= SIXTEEN_BIT
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        span = f"{values.min()} to {values.max()}"
        msg = f"Expected the values of '{path}' in [0, 1], but got {span}. Save it as an 8- or 16-bit image."
        raise ValueError(msg)
    return torch.from_numpy(values).expand(3, -1, -1)


def unreadable_images(paths: Iterable[str | Path], threads: int = 4) -> Iterator[tuple[str, str]]:
    """Every image that cannot be read in full, with the reason, in the order given. Decodes them all."""
    paths = list(paths)
    with ThreadPoolExecutor(threads) as pool:
        for path, reason in zip(paths, pool.map(_reason, paths), strict=True):
            if reason is not None:
                yield str(path), reason


def _reason(path: str | Path) -> str | None:
    try:
        read_rgb(path)
    except BROKEN_IMAGE as error:
        return str(error)
    return None

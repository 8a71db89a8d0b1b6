"""Conversion of image files to tensors, and a search for files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_dtype

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.picture import ImageError, Pixels
from dualclip_lightning.images.reading.decoding import read_picture


def read_rgb(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Tensor:
    """Read an image file as RGB in [0, 1]: [3, H, W]; see `read_picture`.

    Raises:
        ImageError: the file cannot be read; the message does not contain its name.
    """
    return to_tensor(read_picture(path, max_megapixels).pixels)


def to_tensor(pixels: Pixels) -> Tensor:
    """Convert pixels [H, W, 3] to single precision in [0, 1]: [3, H, W]."""
    planes = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
    return to_dtype(planes, torch.float32, scale=True)  # bit-identical to anomalib's `read_image`


def unreadable_images(paths: Iterable[str | Path], threads: int = 4) -> Iterator[tuple[str, str]]:
    """Yield every image that cannot be read in full, with the reason, in the order given. Decodes them all."""
    paths = list(paths)
    with ThreadPoolExecutor(threads) as pool:
        for path, reason in zip(paths, pool.map(_reason, paths), strict=True):
            if reason is not None:
                yield str(path), reason


def _reason(path: str | Path) -> str | None:
    try:
        read_picture(path)
    except ImageError as error:
        return str(error)
    return None

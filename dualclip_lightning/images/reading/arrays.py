"""Images that are already in memory: Pillow images, arrays and tensors, with unambiguous ranges."""

from __future__ import annotations

import logging
from typing import Any

import numpy.typing as npt
import torch
from PIL import Image, ImageFile
from torch import Tensor

from dualclip_lightning.images.area import check_area
from dualclip_lightning.images.picture import ImageError, Picture
from dualclip_lightning.images.reading.decoding import is_reduced_by_pillow, read_stream
from dualclip_lightning.images.reading.depth import NEARLY_BLACK, from_samples, unknown_range
from dualclip_lightning.images.reading.pillow import from_pillow, reason_of

logger = logging.getLogger(__name__)

CHANNELS = (1, 3, 4)
"""Supported numbers of channels: grey, RGB, and RGB with alpha, which is dropped."""
MATRIX, IMAGE, BATCH = 2, 3, 4

InMemory = Image.Image | npt.NDArray[Any] | Tensor


def to_pixels(image: InMemory, max_megapixels: float) -> Picture:
    """Convert an image in memory to RGB pixels.

    Args:
        image: Pillow image; array [H, W] or [H, W, C]; or tensor [H, W] or [C, H, W]. C is 1, 3 (RGB; the caller must
            reverse OpenCV's order) or 4. Bytes range from 0 to 255, 16-bit numbers from 0 to 65535, floating-point
            numbers from 0 to 1; booleans are black and white.
        max_megapixels: limit above which images are refused.

    Raises:
        ImageError: the range, type or shape is ambiguous, or the image is too large.
    """
    if isinstance(image, Image.Image):
        check_area(image.size, max_megapixels)
        try:
            return _of_pillow(image, max_megapixels)
        except ImageError:
            raise
        except Exception as error:  # a Pillow image may be a file that is only decoded here
            raise ImageError(reason_of(error)) from error
    values = _channels_last(image)
    check_area((values.shape[0], values.shape[1]), max_megapixels)
    picture = from_samples(values)
    if NEARLY_BLACK in picture.notes:
        logger.warning(
            "The bytes of an image are all 0 or 1, so it is nearly black. If it is a mask, or had floats from 0 to 1, "
            "multiply by 255 before the conversion to bytes."
        )
    return picture


def _of_pillow(image: Image.Image, max_megapixels: float) -> Picture:
    """Convert a Pillow image; a file that it has opened but not decoded is read like other files, in full depth."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) and image.tile and image.tell() == 0 else None
    if file is None or not file.seekable() or not is_reduced_by_pillow(file):
        return from_pillow(image)
    place = file.tell()
    try:
        return read_stream(file, max_megapixels)
    finally:
        file.seek(place)


def split_batch(images: npt.NDArray[Any] | Tensor) -> list[Any] | None:
    """Return the images of a batch [B, ...], or None for a single image."""
    return list(images) if images.ndim == BATCH else None


def _channels_last(image: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    """Convert either layout to [H, W, C]."""
    first, last = (
        image.ndim == IMAGE and image.shape[0] in CHANNELS,
        image.ndim == IMAGE and image.shape[-1] in CHANNELS,
    )
    tensor = isinstance(image, Tensor)
    fits = image.ndim == MATRIX or (first if tensor else last)
    if not fits or 0 in image.shape:
        expected = "[C, H, W] or [H, W]" if tensor else "[H, W, C] or [H, W]"
        turned = last if tensor else first
        move = "Use permute(2, 0, 1)." if tensor else "Use transpose(1, 2, 0)."
        hint = move if turned else f"C is one of {', '.join(map(str, CHANNELS))}."
        msg = f"its shape is {tuple(image.shape)}, where {expected} is expected. {hint}"
        raise ImageError(msg)
    if not isinstance(image, Tensor):
        return image[..., None] if image.ndim == MATRIX else image
    image = image.detach().cpu()
    exact = image.dtype in {torch.float32, torch.float64} or not image.dtype.is_floating_point
    try:
        values = (image if exact else image.float()).numpy()  # NumPy has no bfloat16 and no 8-bit floats
    except (TypeError, RuntimeError) as error:  # sparse, quantised, complex of half precision
        raise unknown_range(image.dtype) from error
    return values[..., None] if values.ndim == MATRIX else values.transpose(1, 2, 0)

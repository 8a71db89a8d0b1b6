"""Images that are already in memory: Pillow images, arrays and tensors, with ranges that cannot be mistaken."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dualclip_lightning.images.decoding import SIXTEEN_BIT, check_area, reason_of, to_picture, unit_range
from dualclip_lightning.images.picture import ImageError, Picture, Pixels

CHANNELS = (1, 3, 4)
"""Grey, RGB, and RGB with alpha, which is dropped."""
MATRIX, IMAGE, BATCH = 2, 3, 4

InMemory = Image.Image | npt.NDArray[Any] | Tensor


def to_pixels(image: InMemory, max_megapixels: float) -> Picture:
    """An image in memory as RGB pixels.

    Args:
        image: a Pillow image; an array [H, W] or [H, W, C]; or a tensor [H, W] or [C, H, W]. C is 1, 3 (RGB; OpenCV's
            order must be reversed by the caller) or 4. Bytes run from 0 to 255, 16-bit numbers from 0 to 65535,
            floating-point numbers from 0 to 1, booleans are black and white.
        max_megapixels: larger images are refused.

    Raises:
        ImageError: a range, type or shape that cannot be told for sure, or an image that is too large.
    """
    if isinstance(image, Image.Image):
        check_area(image.size, max_megapixels)
        try:
            return to_picture(image)
        except ImageError:
            raise
        except Exception as error:  # a Pillow image may be a file that is decoded only now
            raise ImageError(reason_of(error)) from error
    values = _channels_last(image)
    check_area((values.shape[0], values.shape[1]), max_megapixels)
    pixels = _known_range(values)
    return Picture(np.ascontiguousarray(pixels[..., :3] if pixels.shape[-1] > 1 else np.repeat(pixels, 3, axis=-1)))


def split_batch(images: npt.NDArray[Any] | Tensor) -> list[Any] | None:
    """The images of a batch [B, ...], or None for a single image."""
    return list(images) if images.ndim == BATCH else None


def _channels_last(image: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    """[H, W, C] of either layout."""
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
        raise _unknown_range(image.dtype) from error
    return values[..., None] if values.ndim == MATRIX else values.transpose(1, 2, 0)


def _known_range(values: npt.NDArray[Any]) -> Pixels:
    """Bytes, or single precision in [0, 1]."""
    kind = values.dtype
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if kind == np.uint8:
        return _check_bytes(values)
    if kind == np.uint16:
        return (values / np.float32(SIXTEEN_BIT)).astype(np.float32)
    if np.issubdtype(kind, np.floating):
        return unit_range(values, _float_remedy(values))
    raise _unknown_range(kind)


def _unknown_range(kind: object) -> ImageError:
    return ImageError(
        f"its numbers are of type {kind}, whose range is not known. Use uint8 (0 to 255) or floats from 0 to 1."
    )


def _check_bytes(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if values.max() == 1:
        msg = (
            "its bytes are all 0 or 1, which may be a mask or floats from 0 to 1 that were cut off. "
            "Multiply by 255 before the conversion, or pass booleans."
        )
        raise ImageError(msg)
    return values


def _float_remedy(values: npt.NDArray[Any]) -> str:
    if values.min() < 0:
        return "Pass the image before it is normalised by mean and standard deviation."
    return "Divide by the largest value it can take (255 for 8 bits), or pass uint8."

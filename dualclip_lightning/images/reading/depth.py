"""Value ranges of images: those of bytes, 16-bit numbers and floats are known, others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dualclip_lightning.images.picture import ImageError, Picture, Pixels

BYTE, WORD = 255, 65535
"""The largest numbers of 8 and 16 bits."""
TWELVE_BITS = 4095
NEARLY_BLACK = f"largest value 1 of {BYTE}"
"""Note for bytes that are all 0 or 1."""


def from_samples(values: npt.NDArray[Any], notes: tuple[str, ...] = ()) -> Picture:
    """Convert grey or RGB samples [H, W, C] of any type to a picture; channels after the first, or third, are dropped.

    Raises:
        ImageError: the range of the type or of the values is unknown.
    """
    colours = slice(3) if values.shape[-1] > 2 else slice(1)  # noqa: PLR2004 - grey may have alpha
    pixels = known_range(values)[..., colours]
    return Picture(as_rgb(pixels), (*notes, *depth_notes(values[..., colours])))


def known_range(values: npt.NDArray[Any]) -> Pixels:
    """Return bytes unchanged, and other types as single precision in [0, 1].

    Booleans are black and white; 16-bit numbers range up to 65535, floating-point numbers up to 1.

    Raises:
        ImageError: the type is another one, or the values are outside its range.
    """
    kind = values.dtype.newbyteorder("=")
    if kind == np.bool_:
        return values.astype(np.uint8) * np.uint8(BYTE)
    if kind == np.uint8:
        return values
    if kind == np.uint16:
        return share_of(values, WORD)
    if np.issubdtype(kind, np.floating):
        return _unit_range(values)
    raise unknown_range(kind)


def share_of(values: npt.NDArray[Any], largest: int) -> npt.NDArray[np.float32]:
    """Divide integers by the largest possible one."""
    return (values / np.float32(largest)).astype(np.float32, copy=False)


def as_rgb(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert grey [H, W, 1] or RGB [H, W, 3] to contiguous RGB; `numpy.repeat` would take several times as long."""
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def depth_notes(values: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return the notes for numbers that are not bytes, and for bytes that are all 0 or 1: a dark frame, or a mask."""
    if values.dtype == np.uint8:
        return (NEARLY_BLACK,) if values.max() == 1 else ()
    if values.dtype.newbyteorder("=") == np.uint16:
        return deep_notes(values, 16, WORD)
    return ("floating-point numbers",) if np.issubdtype(values.dtype, np.floating) else ()


def deep_notes(values: npt.NDArray[Any], bits: int, largest: int) -> tuple[str, ...]:
    """Return the notes for integers of the given number of bits; a 12-bit camera may not use all of 16 bits."""
    found = int(values.max())
    dark = (f"largest value {found} of {largest}",) if largest == WORD and found <= TWELVE_BITS else ()
    return (f"{bits} bits a channel", *dark)


def unknown_range(kind: object) -> ImageError:
    """Return the error for a type of numbers that does not define black and white."""
    return ImageError(
        f"its numbers are of type {kind}, whose range is not known. "
        "Use 8 or 16 bits without a sign (uint8, uint16), or floats from 0 to 1."
    )


def _unit_range(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        msg = "it has values that are not finite (NaN or infinity). Repair what produced it."
        raise ImageError(msg)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        msg = f"its floating-point values run from {low:g} to {high:g}, where [0, 1] is expected. {_remedy(low)}"
        raise ImageError(msg)
    return values.astype(np.float32)


def _remedy(low: float) -> str:
    if low < 0:
        return "Use the image before it is normalised by mean and standard deviation."
    return "Divide by the largest value it can take (255 for 8 bits), or use an 8- or 16-bit image."

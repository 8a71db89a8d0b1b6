"""TIFF files of every depth, byte order and layout, read according to their tags."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from dualclip_lightning.images.area import check_area, turn
from dualclip_lightning.images.picture import ImageError, Picture
from dualclip_lightning.images.reading.depth import WORD, as_rgb, deep_notes, from_samples, known_range, share_of
from dualclip_lightning.images.reading.orientation import orientation_notes, upright
from dualclip_lightning.images.reading.pillow import from_pillow

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BITS, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT, DEPTH = 258, 262, 274, 339, 32997
"""Tags (TIFF 6.0, and the extension of Silicon Graphics for volumes)."""
MINISWHITE, MINISBLACK, RGB, PALETTE, SEPARATED, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
PLAIN = frozenset({MINISWHITE, MINISBLACK, RGB, PALETTE, SEPARATED, YCBCR, CIELAB})
"""Photometric interpretations that Pillow converts to RGB, in 8 bits."""
PREMULTIPLIED = 1
MOST_SAMPLES = 16
"""Number of samples per pixel above which a file is refused before memory is allocated for it."""


def read_tiff(file: IO[bytes], max_megapixels: float) -> Picture:
    """Read the first page of a TIFF file: with Pillow if it has at most 8 bits per channel, otherwise with tifffile.

    Raises:
        ImageError: the range or colours of the samples are unknown, or the page is too large.
        Exception: any error of the two libraries for damaged files.
    """
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            if _is_plain(image.tag_v2):
                check_area(image.size, max_megapixels)
                with turn(image.size):
                    return from_pillow(image)
    except UnidentifiedImageError:  # not supported by Pillow, or not a TIFF file
        pass
    file.seek(0)
    return _read_samples(file, max_megapixels)


def _is_plain(tags: Any) -> bool:
    flat_unsigned = set(tags.get(SAMPLE_FORMAT, (1,))) <= {1, 4} and tags.get(DEPTH, 1) == 1
    return flat_unsigned and max(tags.get(BITS, (1,))) <= 8 and tags.get(PHOTOMETRIC, 0) in PLAIN  # noqa: PLR2004


def _read_samples(file: IO[bytes], max_megapixels: float) -> Picture:
    import tifffile  # noqa: PLC0415 - takes 0.1 s, and few files need it

    try:
        opened = tifffile.TiffFile(file)
    except tifffile.TiffFileError as error:
        raise UnidentifiedImageError from error
    with opened as tiff:
        page = tiff.pages[0]
        _check_page(page, file.seek(0, 2), max_megapixels)
        with turn((page.imagelength, page.imagewidth)):
            picture = _to_picture(_samples(page), page)
        frames = (f"first of {len(tiff.pages)} frames",) if len(tiff.pages) > 1 else ()
    orientation = int(getattr(page.tags.get(ORIENTATION), "value", 1))
    pixels = np.ascontiguousarray(upright(picture.pixels, orientation))
    return Picture(pixels, (*frames, *orientation_notes(orientation), *picture.notes))


def _check_page(page: Any, size: int, max_megapixels: float) -> None:
    """Check that a page is complete, flat and not too large."""
    check_area((page.imagewidth, page.imagelength), max_megapixels)
    if page.is_tiled:
        check_area((page.tilewidth, page.tilelength), max_megapixels)
    if page.imagedepth > 1 or page.samplesperpixel > MOST_SAMPLES:
        msg = f"it has {page.imagedepth} layer(s) of {page.samplesperpixel} samples. Save one layer as grey or RGB."
        raise ImageError(msg)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if not segments or any(count <= 0 or start + count > size for start, count in segments):
        msg = "it is damaged or cut short (a part of its data is missing)."
        raise ImageError(msg)


def _samples(page: Any) -> npt.NDArray[Any]:
    """Return all samples of a page [H, W, S], whatever their layout in the file."""
    values = page.asarray(maxworkers=1).reshape(page.shaped)[:, 0]  # planes, rows, columns, samples per plane
    return values[0] if len(values) == 1 else values[..., 0].transpose(1, 2, 0)


def _to_picture(values: npt.NDArray[Any], page: Any) -> Picture:
    """Convert samples to RGB by the page's photometric interpretation."""
    photometric, count = page.photometric, values.shape[-1]
    largest = _largest(values, page.bitspersample)
    if photometric == RGB and count > 2:  # noqa: PLR2004
        premultiplied = count > 3 and tuple(page.extrasamples[:1]) == (PREMULTIPLIED,)  # noqa: PLR2004
        picture = _scaled(values, largest)
        pixels = _unmultiplied(values, largest) if premultiplied else picture.pixels
        return Picture(pixels, (*_extra(count - 3), *picture.notes))
    if photometric in {MINISWHITE, MINISBLACK} and count <= 2:  # noqa: PLR2004
        grey = _inverted(values[..., :1], largest) if photometric == MINISWHITE else values[..., :1]
        picture = _scaled(grey, largest)
        white = ("white is zero",) if photometric == MINISWHITE else ()
        return Picture(picture.pixels, (*_extra(count - 1), "grey converted to RGB", *white, *picture.notes))
    if photometric == SEPARATED and count > 3 and largest is not None:  # noqa: PLR2004
        ink = share_of(values[..., :4], largest)
        notes = ("CMYK converted to RGB", *deep_notes(values, page.bitspersample, largest))
        return Picture((1 - ink[..., :3]) * (1 - ink[..., 3:]), notes)
    if photometric == PALETTE and count == 1 and page.colormap is not None:
        return Picture(share_of(page.colormap.T[values[..., 0]], WORD), ("palette converted to RGB",))
    name = getattr(photometric, "name", photometric)
    msg = f"its {count} samples a pixel of type {values.dtype} ({name}) are no colours that are read. Save it as RGB."
    raise ImageError(msg)


def _largest(values: npt.NDArray[Any], bits: Any) -> int | None:
    """Return the largest value of unsigned samples; None for other types, whose range `known_range` determines."""
    if values.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return None
    if not isinstance(bits, int):
        msg = f"its channels have different depths ({bits}). Save it with the same number of bits in each."
        raise ImageError(msg)
    return 2**bits - 1


def _scaled(values: npt.NDArray[Any], largest: int | None) -> Picture:
    """Scale grey or RGB samples, which may use only some of the bits of their type."""
    if largest is None or largest == np.iinfo(values.dtype).max:
        return from_samples(values)
    pixels = share_of(values, largest)
    return Picture(as_rgb(pixels[..., :3]), deep_notes(values, largest.bit_length(), largest))


def _inverted(values: npt.NDArray[Any], largest: int | None) -> npt.NDArray[Any]:
    if largest is None:
        return 1 - known_range(values)
    return (largest - values).astype(values.dtype)


def _unmultiplied(values: npt.NDArray[Any], largest: int | None) -> npt.NDArray[np.float32]:
    """Divide premultiplied RGB by its alpha; the result is black where that is zero."""
    shares = known_range(values[..., :4]) if largest is None else share_of(values[..., :4], largest)
    colour, alpha = shares[..., :3], shares[..., 3:]
    return np.divide(colour, alpha, out=np.zeros_like(colour), where=alpha > 0).clip(0, 1)


def _extra(count: int) -> tuple[str, ...]:
    return ("alpha dropped",) if count == 1 else (f"{count} further channels dropped",) if count > 1 else ()

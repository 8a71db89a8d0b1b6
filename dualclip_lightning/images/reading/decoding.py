"""Decoding of an image file to pixels, or the reason why that is impossible."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import IO

from PIL import Image

from dualclip_lightning.images.area import check_area, turn
from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.picture import ImageError, Picture
from dualclip_lightning.images.reading.deep import HEAD, largest_value, read_deep
from dualclip_lightning.images.reading.depth import BYTE
from dualclip_lightning.images.reading.pillow import from_pillow, known_formats, reason_of
from dualclip_lightning.images.reading.tiff import MAGIC, read_tiff

EMPTY = "the file is empty (0 bytes)."


def read_picture(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read an image file, whatever its suffix, upright and as RGB.

    Grey, palette, CMYK and other modes are converted to RGB, alpha is dropped, the EXIF orientation is applied, and
    only the first of several frames or pages is read. Files of more than 8 bits per channel keep their depth: the
    largest number that the file's bits allow becomes 1. Each of these conversions is noted.

    Args:
        path: regular file.
        max_megapixels: limit above which images are refused by their header, before memory is allocated for them.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        _check_file(Path(path))
        with Path(path).open("rb") as file:
            return read_stream(file, max_megapixels)
    except ImageError:
        raise
    except Exception as error:  # decoders may raise anything for a malicious file
        raise ImageError(reason_of(error)) from error


def read_content(content: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read an image from the content of a file, as `read_picture` does.

    Raises:
        ImageError: the content cannot be read.
    """
    if not content:
        raise ImageError(EMPTY)
    try:
        return read_stream(io.BytesIO(content), max_megapixels)
    except ImageError:
        raise
    except Exception as error:  # same as in read_picture
        raise ImageError(reason_of(error)) from error


def read_size(path: str | Path) -> tuple[int, int]:
    """Read the height and width of an image file, after its orientation is applied, from its header.

    Raises:
        ImageError: Pillow cannot read the size; `read_picture` may still read the file.
    """
    try:
        _check_file(Path(path))
        with Image.open(path, formats=known_formats()) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # noqa: PLR2004 - EXIF orientations that swap height and width
            return image.size if turned else (image.height, image.width)
    except ImageError:
        raise
    except Exception as error:  # same as in read_picture
        raise ImageError(reason_of(error)) from error


def read_stream(file: IO[bytes], max_megapixels: float) -> Picture:
    """Read an image from the start of an open file, as `read_picture` does.

    Raises:
        ImageError: the image is too large, or the range of its numbers is unknown.
        Exception: any error of the decoders.
    """
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    if head.startswith(MAGIC):
        return read_tiff(file, max_megapixels)
    with Image.open(file, formats=known_formats()) as image:
        check_area(image.size, max_megapixels)
        largest = largest_value(head)
        with turn(image.size):
            return read_deep(image, file, largest) if largest > BYTE else from_pillow(image)


def is_reduced_by_pillow(file: IO[bytes]) -> bool:
    """Return whether Pillow may reduce the bits of an open file, or misinterpret its numbers."""
    place = file.tell()
    file.seek(0)
    head = file.read(HEAD)
    file.seek(place)
    return head.startswith(MAGIC) or largest_value(head) > BYTE


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would block forever
        msg = "it is not a regular file."
        raise ImageError(msg)
    if status.st_size == 0:
        raise ImageError(EMPTY)

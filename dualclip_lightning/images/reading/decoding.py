"""One image file as pixels, or a sentence that says why not."""

from __future__ import annotations

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


def read_picture(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read an image file, whatever its name says, upright and as RGB.

    Grey, palette, CMYK and other modes become RGB, alpha is dropped, the orientation of EXIF is applied, the first
    frame or page of several counts. Files of more than 8 bits a channel keep their depth: the largest number that the
    file's bits allow is 1. All of it is noted.

    Args:
        path: a regular file.
        max_megapixels: larger images are refused by their header, before memory is taken for them.

    Raises:
        ImageError: whatever is wrong with the file.
    """
    try:
        _check_file(Path(path))
        with Path(path).open("rb") as file:
            return read_stream(file, max_megapixels)
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on a hostile file; all of it means "not this one"
        raise ImageError(reason_of(error)) from error


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image file as it will be upright, from its head.

    Raises:
        ImageError: a file of which Pillow cannot tell; `read_picture` may still read it.
    """
    try:
        _check_file(Path(path))
        with Image.open(path, formats=known_formats()) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # noqa: PLR2004 - EXIF's orientations on their side
            return image.size if turned else (image.height, image.width)
    except ImageError:
        raise
    except Exception as error:  # as in read_picture
        raise ImageError(reason_of(error)) from error


def read_stream(file: IO[bytes], max_megapixels: float) -> Picture:
    """Read an image from the start of an open file, as `read_picture` does.

    Raises:
        ImageError: an image that is too large, or numbers whose range is not known.
        Exception: whatever decoders raise.
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
    """Return whether Pillow may give fewer bits of an open file than are in it, or read its numbers as others."""
    place = file.tell()
    file.seek(0)
    head = file.read(HEAD)
    file.seek(place)
    return head.startswith(MAGIC) or largest_value(head) > BYTE


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
        msg = "it is not a regular file."
        raise ImageError(msg)
    if status.st_size == 0:
        msg = "the file is empty (0 bytes)."
        raise ImageError(msg)

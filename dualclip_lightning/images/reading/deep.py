"""Files with more than 8 bits per channel, which Pillow reduces to 8 if they are in colour."""

from __future__ import annotations

import re
from typing import IO, Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.images.picture import ImageError, Picture
from dualclip_lightning.images.reading.depth import BYTE, WORD, as_rgb, deep_notes, share_of
from dualclip_lightning.images.reading.orientation import TAG, upright
from dualclip_lightning.images.reading.pillow import from_pillow, origin_notes

HEAD = 4096
"""Number of bytes at the start of a file that are read for its depth."""
DECODED = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats that OpenCV decodes in full depth; for others (AVIF, SGI) the loss is noted."""


def largest_value(head: bytes) -> int:
    """Return the largest value of a channel according to the first bytes of a file; 255 if they do not state it."""
    if head.startswith(b"\x89PNG") and len(head) > 24:  # noqa: PLR2004 - bit depth in IHDR
        return 2 ** head[24] - 1
    if head[:2] in {b"P5", b"P6"}:
        fields = re.sub(rb"#[^\r\n]*", b"", head).split(maxsplit=4)
        return int(fields[3]) if len(fields) > 4 and fields[3].isdigit() else BYTE  # noqa: PLR2004
    if head.startswith(b"\x01\xda"):
        return WORD if head[3:4] == b"\x02" else BYTE
    bits = _bits(head)
    return BYTE if bits is None else 2**bits - 1


def _bits(head: bytes) -> int | None:
    """Return the bits per channel of a JPEG 2000 or AVIF file, from its boxes and markers."""
    jpeg2000 = head[4:8] == b"jP  " or head.startswith(b"\xff\x4f\xff\x51")
    if jpeg2000 and (found := re.search(rb"ihdr.{10}(.)|\xff\x4f\xff\x51.{38}(.)", head, re.DOTALL)):
        return ((found[1] or found[2])[0] & 0x7F) + 1
    if head[4:8] == b"ftyp" and (found := re.search(rb"pixi.{5}(.)", head, re.DOTALL)):
        return found[1][0]
    return None


def read_deep(image: Image.Image, file: IO[bytes], largest: int) -> Picture:
    """Read an opened file of more than 8 bits per channel, in full depth if its format is supported.

    Raises:
        ImageError: the content of the file contradicts its header.
        OSError: the file is truncated.
    """
    bits = largest.bit_length()
    if image.format not in DECODED:
        picture = from_pillow(image)
        return Picture(picture.pixels, (*picture.notes, f"{bits} bits a channel reduced to 8"))
    notes = origin_notes(image)
    image.load()  # Pillow refuses truncated files; OpenCV pads them
    orientation = image.getexif().get(TAG, 1)
    if image.format == "PNG" and image.mode.startswith("I;16"):
        values = np.asarray(image)[..., None]
    else:
        file.seek(0)
        values = _decode(file.read(), image.size, bits)
    grey = ("grey converted to RGB",) if values.shape[-1] == 1 else ()
    within = values if largest == WORD else np.minimum(values, largest)
    return Picture(
        as_rgb(upright(share_of(within, largest), orientation)), (*notes, *grey, *deep_notes(values, bits, largest))
    )


def _decode(content: bytes, size: tuple[int, int], bits: int) -> npt.NDArray[Any]:
    """Decode samples [H, W, 1 or 3], in RGB order."""
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != size[::-1]:
        msg = f"its {bits} bits a channel cannot be decoded. Save it as a 16-bit PNG or TIFF."
        raise ImageError(msg)
    return values[..., None] if values.ndim == 2 else values[..., 2::-1]  # noqa: PLR2004 - OpenCV has blue first

"""One image file as pixels, or a sentence that says why not."""

from __future__ import annotations

import math
import stat
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.picture import ImageError, Picture

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")
"""What is read. Not EPS, for one, which Pillow hands to an interpreter of PostScript programs."""

SIXTEEN_BIT = 65535
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow modes whose conversion to RGB clips at 255 without a word."""
LARGE = 16e6
"""Pixels of an image above which it waits for its turn."""
_one_large = Lock()


def read_picture(path: str | Path, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read any image that Pillow knows, whatever its name says, upright and as RGB.

    Grey, palette, CMYK and other modes become RGB, alpha is dropped, EXIF's orientation is applied, of an animation
    the first frame counts; 16-bit images keep their depth. All of it is noted.

    Args:
        path: a regular file.
        max_megapixels: larger images are refused by their header, before memory is taken for them.

    Raises:
        ImageError: whatever is wrong with the file.
    """
    try:
        _check_file(Path(path))
        with Image.open(path, formats=known_formats()) as image:
            check_area(image.size, max_megapixels)
            with turn(image.size):
                return to_picture(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise anything on a hostile file; all of it means "not this one"
        raise ImageError(reason_of(error)) from error


@lru_cache(maxsize=1)
def known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def allow_megapixels(limit: float) -> None:
    """Let Pillow open images up to a limit of ours that is above its own, in this process."""
    if math.isfinite(limit):
        Image.MAX_IMAGE_PIXELS = max(int(limit * 1e6), Image.MAX_IMAGE_PIXELS or 0)


def to_picture(image: Image.Image) -> Picture:
    """A Pillow image as pixels; `read_picture` says how.

    Raises:
        ImageError: a floating-point image outside [0, 1].
        OSError: a file that is cut short (Pillow decodes here).
    """
    notes = _notes(image)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP_MODES:
        return Picture(_deep_pixels(upright), notes)
    if upright.mode == "P":  # through RGBA, or Pillow warns of transparency that is dropped here anyway
        upright = upright.convert("RGBA")
    return Picture(np.asarray(upright.convert("RGB")), notes)


def turn(size: tuple[int, int]) -> AbstractContextManager[object]:
    """Lets large images be decoded or resized one at a time: either takes several times their size in memory."""
    return _one_large if size[0] * size[1] > LARGE else nullcontext()


def check_area(size: tuple[int, int], max_megapixels: float) -> None:
    """Refuse a size in pixels, in whatever order of sides.

    Raises:
        ImageError: more pixels than allowed, or none.
    """
    if 0 in size:
        msg = f"it has no pixels ({size[0]}x{size[1]})."
        raise ImageError(msg)
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        msg = (
            f"it has {megapixels:.1f} megapixels, above the limit of {max_megapixels:g}. "
            "Raise the limit (max_megapixels) if it is no decompression bomb."
        )
        raise ImageError(msg)


def unit_range(values: npt.NDArray, remedy: str) -> npt.NDArray[np.float32]:
    """Floating-point values in [0, 1], in single precision.

    Raises:
        ImageError: values that are not finite or lie outside; the message ends with the remedy.
    """
    if not np.isfinite(values).all():
        msg = "it has values that are not finite (NaN or infinity). Repair what produced it."
        raise ImageError(msg)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        msg = f"its floating-point values run from {low:g} to {high:g}, where [0, 1] is expected. {remedy}"
        raise ImageError(msg)
    return values.astype(np.float32)


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
        msg = "it is not a regular file."
        raise ImageError(msg)
    if status.st_size == 0:
        msg = "the file is empty (0 bytes)."
        raise ImageError(msg)


def _notes(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    turned = image.getexif().get(0x0112, 1) not in {0, 1}
    found = {
        f"first of {frames} frames": frames > 1,
        "turned upright by EXIF": turned,
        "alpha dropped": "A" in image.getbands() or "transparency" in image.info,
        f"{image.mode} converted to RGB": image.mode not in {"RGB", "RGBA"},
    }
    return tuple(note for note, applies in found.items() if applies)


def _deep_pixels(image: Image.Image) -> npt.NDArray[np.float32]:
    values = np.asarray(image).astype(np.float32)
    if image.mode != "F":
        values /= SIXTEEN_BIT
    values = unit_range(values, "Save it as an 8- or 16-bit image.")
    return np.repeat(values[..., None], 3, axis=-1)


def reason_of(error: Exception) -> str:
    """A sentence for what opening and decoding raise."""
    detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
    sentences: tuple[tuple[type[Exception], str], ...] = (
        (FileNotFoundError, "there is no such file (any more)."),
        (PermissionError, "permission to read it is denied."),
        (UnidentifiedImageError, "it is no image, or of a kind that is not read."),
        (Image.DecompressionBombError, f"Pillow takes it for a decompression bomb ({detail})."),
        (MemoryError, "it does not fit in memory."),
    )
    for kind, sentence in sentences:
        if isinstance(error, kind):
            return sentence
    return f"it is damaged or cut short ({detail})."

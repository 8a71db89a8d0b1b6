"""Conversion of Pillow images to pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dualclip_lightning.images.picture import Picture
from dualclip_lightning.images.reading.depth import from_samples
from dualclip_lightning.images.reading.orientation import TAG, orientation_notes

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")
"""Formats that are read. They exclude EPS, which Pillow passes to an interpreter of PostScript programs."""
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow modes whose conversion to RGB silently clips at 255."""
BYTES_AS_THEY_ARE = frozenset({"L", "LA", "RGB", "RGBA", "RGBX"})
"""Modes whose conversion to RGB does not change the bytes."""
KINDS = {"1": "black and white", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette"}
"""Names of Pillow's modes in messages."""
WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


@lru_cache(maxsize=1)
def known_formats() -> tuple[str, ...]:
    """Return the `FORMATS` that this build of Pillow supports."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def from_pillow(image: Image.Image) -> Picture:
    """Convert a Pillow image to upright RGB, and note the conversions.

    Raises:
        ImageError: the range of its numbers is unknown.
        OSError: the file is truncated (Pillow decodes it here).
    """
    mode = () if image.mode in {"RGB", "RGBA"} else (f"{KINDS.get(image.mode, image.mode)} converted to RGB",)
    notes = (*origin_notes(image), *mode)
    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_MODES:
        return from_samples(np.asarray(image)[..., None], notes)
    if image.mode in BYTES_AS_THEY_ARE:
        return from_samples(np.asarray(image.convert("RGB")), notes)
    if image.mode == "P":  # via RGBA, or Pillow warns of transparency, which is dropped here anyway
        image = image.convert("RGBA")
    return Picture(np.asarray(image.convert("RGB")), notes)


def origin_notes(image: Image.Image) -> tuple[str, ...]:
    """Return notes on the parts of a file that are left out, and on its rotation."""
    frames = getattr(image, "n_frames", 1)
    several = (f"first of {frames} frames",) if frames > 1 else ()
    alpha = ("alpha dropped",) if image.mode in WITH_ALPHA or "transparency" in image.info else ()
    return (*several, *orientation_notes(image.getexif().get(TAG, 1)), *alpha)


def reason_of(error: Exception) -> str:
    """Return a sentence for an error of opening or decoding."""
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

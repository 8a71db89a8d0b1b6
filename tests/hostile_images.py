"""A folder of difficult images: broken files, unusual formats, and intact images under unusual names."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 56)


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Return a smooth picture of height and width `SIZE` in a Pillow mode."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    large = small.resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(large.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(large.convert("L")).astype(np.float32) / 255)
    return large.convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def exif(orientation: int) -> bytes:
    """Return EXIF data that contain only an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """Return a PNG of a hundred bytes whose header declares 900 megapixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
            + chunk(b"IEND", b""))  # fmt: skip


def turned() -> bytes:
    """Return a JPEG that EXIF rotates by 90 degrees, so that upright its height and width are `SIZE` swapped."""
    return encoded(picture(), "JPEG", exif=exif(6))


def animated() -> bytes:
    """Return a GIF with three frames."""
    frames = [picture(seed=i) for i in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", r"empty \(0 bytes\)"),
    "truncated.jpg": (encoded(picture(), "JPEG")[:400], "damaged or cut short"),
    "truncated.png": (encoded(picture(), "PNG")[:400], "damaged or cut short"),
    "header_only.png": (encoded(picture(), "PNG")[:33], "no image, or of a kind"),
    "text.png": (b"this is no image", "no image, or of a kind"),
    "web_page.jpg": (b"<html><body>404</body></html>", "no image, or of a kind"),
    "bomb.png": (bomb(), "megapixels|decompression bomb"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "no image, or of a kind"),
    "float_out_of_range.tif": (encoded(Image.fromarray(np.full(SIZE, 7.0, np.float32)), "TIFF"), "from 7 to 7"),
    "float_nan.tif": (encoded(Image.fromarray(np.full(SIZE, np.nan, np.float32)), "TIFF"), "not finite"),
}
"""File name -> content, and text that the reason for the failure contains."""

SOUND: dict[str, tuple[bytes, str]] = {
    "plain.png": (encoded(picture(), "PNG"), ""),
    "really_a_jpeg.png": (encoded(picture(seed=1), "JPEG"), ""),
    "cmyk.jpg": (encoded(picture("CMYK", 2), "JPEG"), "CMYK converted to RGB"),
    "grey.png": (encoded(picture("L", 3), "PNG"), "grey converted to RGB"),
    "palette.gif": (encoded(picture("P", 4), "GIF"), "palette converted to RGB"),
    "one_bit.png": (encoded(picture("1", 5), "PNG"), "black and white converted to RGB"),
    "alpha.png": (encoded(picture("RGBA", 6), "PNG"), "alpha dropped"),
    "sixteen_bit.png": (encoded(picture("I;16", 7), "PNG"), "16 bits a channel"),
    "float.tif": (encoded(picture("F", 8), "TIFF"), "floating-point numbers"),
    "animated.gif": (animated(), "first of 3 frames"),
    "turned.jpg": (turned(), "turned upright"),
    "one_pixel.png": (encoded(Image.new("RGB", (1, 1), (200, 10, 10)), "PNG"), ""),
    "a line.png": (encoded(picture(seed=9).resize((400, 1)), "PNG"), ""),
    "Ünïcödé 測試.webp": (encoded(picture(seed=10), "WEBP"), ""),
    "new\nline.bmp": (encoded(picture(seed=11), "BMP"), ""),
    "<script>alert(1)&amp;.png": (encoded(picture(seed=12), "PNG"), ""),
    "n" * 240 + ".png": (encoded(picture(seed=13), "PNG"), ""),
}
"""File name -> content, and the note that is made when the file is read."""


def write_corpus(folder: Path) -> None:
    """Write all files, one whose name is not UTF-8, and a pipe, a dangling link and a folder named as an image."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (content, _) in {**BROKEN, **SOUND}.items():
        (folder / name).write_bytes(content)
    Path(os.fsdecode(os.fsencode(folder) + b"/not_utf8_\xff.png")).write_bytes(SOUND["plain.png"][0])
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "a_folder.png").mkdir()

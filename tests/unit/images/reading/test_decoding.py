from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.images import area
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading import decoding
from dualclip_lightning.images.reading.decoding import read_picture
from tests.hostile_images import BROKEN, SIZE, SOUND, encoded, picture


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_a_sentence(name, tmp_path):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as refusal:
        read_picture(tmp_path / name)
    assert re.search(reason, str(refusal.value))
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", SOUND)
def test_an_intact_file_becomes_rgb_with_a_note_on_its_conversion(name, tmp_path):
    content, note = SOUND[name]
    (tmp_path / name).write_bytes(content)
    read = read_picture(tmp_path / name)
    assert read.pixels.shape[2] == 3
    assert read.pixels.dtype in {np.dtype(np.uint8), np.dtype(np.float32)}
    assert note in "; ".join(read.notes)
    assert bool(read.notes) == bool(note)


def test_pixels_are_those_that_pillow_shows(tmp_path):
    image = picture("CMYK")
    image.save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").pixels, np.asarray(opened.convert("RGB")))


def test_exif_turns_the_image_upright(tmp_path):
    (tmp_path / "a.jpg").write_bytes(SOUND["turned.jpg"][0])
    (tmp_path / "b.jpg").write_bytes(encoded(picture(), "JPEG"))
    upright = np.rot90(read_picture(tmp_path / "b.jpg").pixels, k=-1)
    assert read_picture(tmp_path / "a.jpg").size == (SIZE[1], SIZE[0])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").pixels, upright)


def test_sixteen_bits_are_kept(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) + 30_000
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.repeat(values[..., None] / 65535, 3, axis=-1)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png").pixels, expected, atol=1e-7)


def test_anything_but_a_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, reason in {"pipe.png": "regular file", "folder.png": "regular file", "gone.png": "no such file"}.items():
        with pytest.raises(ImageError, match=reason):
            read_picture(tmp_path / name)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded(picture(), "PNG"))

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)  # permissions do not stop a superuser
    with pytest.raises(ImageError, match="permission to read it is denied"):
        read_picture(tmp_path / "a.png")


@pytest.fixture
def decode_eight(tmp_path, monkeypatch):
    """Function that decodes an image eight times in four threads, as a large image or not, and calls `inside` there."""
    real, path = decoding.from_pillow, tmp_path / "a.png"
    path.write_bytes(encoded(picture(), "PNG"))

    def decode(large, inside):
        def from_pillow(image):
            inside()
            return real(image)

        monkeypatch.setattr(decoding, "from_pillow", from_pillow)
        monkeypatch.setattr(area, "LARGE", 0 if large else 1e9)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read_picture, [path] * 8))

    return decode


def test_large_images_are_decoded_one_at_a_time(decode_eight):
    alone, found = threading.Lock(), []

    def come_and_go():
        found.append(alone.acquire(blocking=False))
        time.sleep(0.02)  # time in which another thread could enter
        alone.release()

    decode_eight(large=True, inside=come_and_go)
    assert found == [True] * 8


def test_small_images_are_decoded_at_the_same_time(decode_eight):
    decode_eight(large=False, inside=threading.Barrier(2).wait)  # returns only if two threads wait at once


def test_the_user_can_set_the_limit_of_megapixels(tmp_path):
    Image.new("L", (300, 400)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png", 0.12).size == (400, 300)
    with pytest.raises(ImageError, match=r"0\.1 megapixels, above the limit of 0\.11.*max_megapixels"):
        read_picture(tmp_path / "a.png", 0.11)

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.tensors import read_rgb, unreadable_images

RAMP = np.linspace(0, 255, 48, dtype=np.uint8).reshape(6, 8)


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def rgb_ramp() -> Image.Image:
    return Image.fromarray(np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1))


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tiff"])
def test_rgb_comes_as_it_is_stored(tmp_path, name):
    image = read_rgb(save(tmp_path / name, rgb_ramp()))
    assert image.dtype == torch.float32
    expected = np.asarray(rgb_ramp()).transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_allclose(image.numpy(), expected, atol=1e-7)


def test_grey_becomes_rgb(tmp_path):
    image = read_rgb(save(tmp_path / "x.png", Image.fromarray(RAMP)))
    np.testing.assert_allclose(image.numpy(), np.stack([RAMP / 255] * 3), atol=1e-6)


def test_alpha_is_dropped_and_not_blended(tmp_path):
    transparent = rgb_ramp()
    transparent.putalpha(Image.fromarray(255 - RAMP))
    expected = read_rgb(save(tmp_path / "rgb.png", rgb_ramp()))
    assert torch.equal(read_rgb(save(tmp_path / "rgba.png", transparent)), expected)
    grey = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)])
    assert torch.equal(
        read_rgb(save(tmp_path / "la.png", grey)), read_rgb(save(tmp_path / "l.png", Image.fromarray(RAMP)))
    )


def test_a_palette_is_looked_up(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([1, 0])
    image = read_rgb(save(tmp_path / "x.png", palette))
    assert image[:, 0, 0].tolist() == [0, 0, 1]
    assert image[:, 0, 1].tolist() == [1, 0, 0]


def test_black_and_white_is_0_and_1(tmp_path):
    image = read_rgb(save(tmp_path / "x.png", Image.fromarray(RAMP > 127)))
    assert set(image.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_16_bit_is_divided_by_65535_and_not_clipped(tmp_path, name):
    values = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    path = save(tmp_path / name, Image.fromarray(values))
    np.testing.assert_allclose(read_rgb(path).numpy(), np.stack([values / 65535] * 3), atol=1e-6)


def test_floating_point_in_0_1_comes_as_it_is(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    path = save(tmp_path / "x.tiff", Image.fromarray(values))
    assert np.array_equal(read_rgb(path).numpy(), np.stack([values] * 3))


@pytest.mark.parametrize(
    ("value", "remedy"),
    [(-0.5, r"run from -0\.5 .*normalised"), (3.0, "to 3, .*8- or 16-bit"), (np.nan, "Repair"), (np.inf, "Repair")],
)
def test_floating_point_outside_0_1_is_refused_with_its_range(tmp_path, value, remedy):
    values = np.full((6, 8), 0.5, dtype=np.float32)
    values[0, 0] = value
    path = save(tmp_path / "x.tiff", Image.fromarray(values))
    with pytest.raises(ImageError, match=remedy):
        read_rgb(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "1"])
def test_a_single_pixel_is_an_image(tmp_path, mode):
    assert read_rgb(save(tmp_path / "x.png", Image.new(mode, (1, 1)))).shape == (3, 1, 1)


def test_unreadable_images_are_named_in_order_with_a_reason(tmp_path):
    save(tmp_path / "good.png", rgb_ramp())
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    whole = save(tmp_path / "half.png", noisy).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    names = ["half.png", "good.png", "text.png", "missing.png", "empty.jpg"]
    found = dict(unreadable_images(tmp_path / name for name in names))
    assert list(found) == [str(tmp_path / name) for name in names if name != "good.png"]
    assert all(found.values())
    assert not list(unreadable_images([tmp_path / "good.png"]))
    assert not list(unreadable_images([]))


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "gif", "ppm"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_file_is_named_and_nothing_else_fails(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # a broken header may declare a huge size
    whole = save(tmp_path / f"whole.{kind}", rgb_ramp()).read_bytes()
    rng = random.Random(kind)  # noqa: S311 - damage, not secrets
    paths = []
    for i in range(60):
        broken = bytearray(whole[: rng.randrange(len(whole))] if i % 3 == 0 else whole)
        for _ in range(rng.randrange(1, 9)):
            if broken:
                broken[rng.randrange(min(len(broken), 200))] = rng.randrange(256)
        paths.append(tmp_path / f"{i}.{kind}")
        paths[-1].write_bytes(broken)
    named = {name for name, reason in unreadable_images(paths) if reason}
    assert named
    for path in paths:
        if str(path) not in named:
            assert read_rgb(path).ndim == 3


def test_an_image_of_absurd_size_is_named_and_nothing_else_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save(tmp_path / "bomb.png", rgb_ramp())
    ((name, reason),) = unreadable_images([path])
    assert name == str(path)
    assert "decompression bomb" in reason

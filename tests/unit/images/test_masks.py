"""Masks, compared with the transforms of the released codes, and masks that are not black and white."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from torchvision import transforms
from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, Resize
from torchvision.tv_tensors import Mask

from dualclip_lightning.images.masks import describe_odd, mask_paths, odd_masks, read_mask, resize_mask

BICUBIC = InterpolationMode.BICUBIC
SQUASH = Compose([Resize((24, 24), BICUBIC, antialias=True)])
CROP = Compose([Resize(24, BICUBIC, antialias=True), CenterCrop((24, 24))])


def blobs(seed, height=90, width=130):
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(12):
        top, left = random.integers(0, height - 3), random.integers(0, width - 3)
        mask[top : top + random.integers(1, 20), left : left + random.integers(1, 20)] = 1
    return mask


def as_released(mask, geometry):
    """Return the resized mask of the released codes before it is thresholded, with values from 0 to 1."""
    size = (24, 24) if geometry is SQUASH else 24
    steps = [transforms.Resize(size), transforms.CenterCrop(24), transforms.ToTensor()]
    return transforms.Compose(steps)(Image.fromarray(mask * 255))[0]


@pytest.mark.parametrize("geometry", [SQUASH, CROP])
@pytest.mark.parametrize("seed", range(5))
def test_bilinear_and_full_masks_are_those_of_the_released_codes(seed, geometry):
    mask = blobs(seed)
    values = as_released(mask, geometry)
    halves, full = (resize_mask(torch.from_numpy(mask), geometry, rule) for rule in ("bilinear", "full"))
    assert torch.equal(halves.bool(), values > 0.5)
    np.testing.assert_array_equal(full.numpy(), values.numpy().astype(np.int32))
    assert not torch.equal(halves, full)


def test_a_nearest_mask_is_torchvisions():
    mask = torch.from_numpy(blobs(0))
    assert torch.equal(resize_mask(mask, SQUASH), SQUASH(Mask(mask)))
    assert not torch.equal(resize_mask(mask, SQUASH), resize_mask(mask, SQUASH, "bilinear"))


@pytest.mark.parametrize("rule", ["nearest", "bilinear", "full"])
def test_a_mask_of_the_right_size_stays_as_it_is(rule):
    mask = torch.from_numpy(blobs(1, 24, 24))
    found = resize_mask(255 * mask, SQUASH, rule)
    assert isinstance(found, Mask)
    assert found.dtype == torch.uint8
    assert torch.equal(found, mask)


@pytest.fixture
def disc():
    image = Image.new("L", (60, 40))
    ImageDraw.Draw(image).ellipse((20, 10, 40, 30), fill=255)
    return image


def palette(image, background, defect):
    drawn = Image.fromarray((np.asarray(image) > 0).astype(np.uint8), "P")
    drawn.putpalette([*background, *defect])
    return drawn


ODD = {
    "jpeg.jpg": (lambda disc: disc, "above"),
    "grey jpeg in colour.jpg": (lambda disc: disc.convert("RGB"), "above"),
    "smooth.png": (lambda disc: disc.resize((600, 400), Image.BICUBIC).filter(ImageFilter.GaussianBlur(3)), "above"),
    "white palette.png": (lambda disc: palette(disc, (255, 255, 255), (200, 0, 0)), "other than the colour #ffffff"),
    "white.png": (
        lambda disc: palette(disc, (255, 255, 255), (9, 0, 0)).convert("RGB"),
        "other than the colour #ffffff",
    ),
    "grey background.png": (lambda disc: disc.point(lambda value: value or 77), "other than 77"),
}
PLAIN = {
    "black and white.png": lambda disc: disc,
    "one bit.png": lambda disc: disc.convert("1"),
    "labels.png": lambda disc: Image.fromarray(np.asarray(disc) // 255 * (1 + np.arange(60, dtype=np.uint8) // 10)),
    "black palette.png": lambda disc: palette(disc, (0, 0, 0), (200, 0, 0)),
    "colour.png": lambda disc: palette(disc, (0, 0, 0), (0, 200, 0)).convert("RGB"),
    "all defective.png": lambda disc: disc.point(lambda _: 255),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_mask_is_detected_described_and_read_as_it_was_drawn(name, disc, tmp_path):
    draw, counted = ODD[name]
    image = draw(disc)
    image.save(tmp_path / name)
    (odd,) = odd_masks([tmp_path / name])
    assert odd.values == len(np.unique(np.asarray(Image.open(tmp_path / name).convert("RGB")).reshape(-1, 3), axis=0))
    assert counted in odd.counted
    assert f"1 mask(s) are not of two values, the first '{tmp_path / name}' with {odd.values}" in describe_odd([odd])
    truth = np.asarray(disc.resize(image.size, Image.NEAREST)) > 0
    assert (read_mask(tmp_path / name).numpy() != truth).mean() < 0.02
    assert ((np.asarray(Image.open(tmp_path / name).convert("L")) > 0) != truth).mean() > 0.03  # as anomalib reads it


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_mask_is_left_as_anomalib_reads_it(name, disc, tmp_path):
    PLAIN[name](disc).save(tmp_path / name)
    assert odd_masks([tmp_path / name]) == []
    as_read = np.asarray(Image.open(tmp_path / name).convert("L")) > 0
    np.testing.assert_array_equal(read_mask(tmp_path / name).numpy(), as_read)


def test_a_file_that_is_not_an_image_is_left_to_the_reader_of_the_item(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    assert odd_masks([tmp_path / "broken.png"]) == []


def test_a_data_set_without_masks_has_none():
    assert list(mask_paths(object())) == []

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torchvision.transforms.v2.functional import to_dtype, to_image

from dualclip_lightning.backbone import Preprocessing
from dualclip_lightning.backbone.preprocessing import PRESETS, resolve_preprocessing

GREY = (0.5, 0.5, 0.5)


def photo(height: int, width: int) -> Image.Image:
    """Return an image with edges, texture and a gradient, in which errors of resizing show."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = 30 * np.sin(x / 7) * np.cos(y / 11) + 30 * ((x // 23 + y // 17) % 2) + rng.normal(0, 6, (height, width))
    rgb = np.stack([110 + waves, 90 + waves / 2 + y / 8, 150 - waves], axis=-1)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def as_tensor(image: Image.Image) -> torch.Tensor:
    return to_dtype(to_image(image), torch.float32, scale=True)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("mode", "open_clip_mode"), [("squash", "squash"), ("crop", "shortest")])
@pytest.mark.parametrize("source", [(300, 200), (180, 420), (240, 240), (96, 130)])
def test_transform_equals_open_clips_own_to_the_rounding_of_8_bits(source, mode, open_clip_mode, interpolation):
    # open_clip resizes 8-bit PIL images, which rounds to 1/255, and Pillow's antialiasing also rounds its weights.
    # Resizing floats does neither, and keeps bicubic overshoot beyond [0, 1], which Pillow clips.
    std = PRESETS["openai"]["std"]
    theirs = image_transform(
        112, is_train=False, mean=PRESETS["openai"]["mean"], std=std, resize_mode=open_clip_mode,
        interpolation=interpolation,
    )  # fmt: skip
    ours = Preprocessing(PRESETS["openai"]["mean"], std, interpolation, (112, 112)).transform(mode)
    image = photo(*source)
    expected, got = theirs(image), ours(as_tensor(image))
    levels = (got - expected).abs() * torch.tensor(std)[:, None, None] * 255
    in_gamut = (to_levels(expected) > 0.5) & (to_levels(expected) < 254.5)
    assert got.shape == expected.shape == (3, 112, 112)
    assert levels[in_gamut].max() <= 2
    assert levels.mean() < 0.5


def to_levels(normalised: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(PRESETS["openai"][key])[:, None, None] for key in ("mean", "std"))
    return (normalised * std + mean) * 255


def test_squash_keeps_all_of_the_image_and_crop_only_the_centre():
    image = torch.zeros(3, 48, 96)
    image[:, :, 72:] = 1  # the right quarter
    prepared = Preprocessing((0, 0, 0), (1, 1, 1), "bilinear", (48, 48))
    assert prepared.transform("squash")(image)[:, :, -1].min() > 0.9
    assert prepared.transform("crop")(image).max() == 0


def test_squash_and_crop_agree_on_square_images():
    image = as_tensor(photo(90, 90))
    prepared = Preprocessing(GREY, GREY, "bicubic", (48, 48))
    torch.testing.assert_close(prepared.transform("squash")(image), prepared.transform("crop")(image))


def test_an_image_that_has_the_size_is_only_normalised():
    image = as_tensor(photo(48, 48))
    prepared = Preprocessing(GREY, GREY, "bicubic", (48, 48))
    assert torch.equal(prepared.transform("squash")(image), (image - 0.5) / 0.5)


@pytest.mark.parametrize(("size", "expected"), [(None, (240, 240)), (32, (32, 32)), ((48, 96), (48, 96))])
def test_at_size_changes_only_the_size(size, expected):
    before = Preprocessing(GREY, GREY, "bicubic", (240, 240))
    assert before.at_size(size) == Preprocessing(GREY, GREY, "bicubic", expected)


def test_crop_to_a_size_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match=r"square.*squash"):
        Preprocessing(GREY, GREY, "bicubic", (48, 96)).transform("crop")


def test_for_tiles_the_short_side_is_brought_to_the_size_and_nothing_is_cut_off():
    prepared = Preprocessing(GREY, GREY, "bilinear", (48, 48))
    image = photo(96, 130)
    expected = as_tensor(image.resize((65, 48), Image.Resampling.BILINEAR))
    torch.testing.assert_close(prepared.transform("tiles")(as_tensor(image)) * 0.5 + 0.5, expected, atol=0.005, rtol=0)
    assert prepared.transform("tiles")(torch.rand(3, 130, 96)).shape == (3, 65, 48)


def test_an_unknown_resize_mode_is_refused():
    with pytest.raises(ValueError, match="'squash' or 'crop', but got 'pad'"):
        Preprocessing(GREY, GREY, "bicubic", (48, 48)).transform("pad")


def test_missing_preprocessing_is_an_error_that_names_the_argument():
    with pytest.raises(ValueError, match=r"my\.pt.*preprocessing='openai'"):
        resolve_preprocessing(None, None, where="my.pt")


@pytest.mark.parametrize(
    ("stated", "chosen", "expected"),
    [
        ({}, None, PRESETS["openai"]),
        (open_clip.get_pretrained_cfg("ViT-B-16-plus-240", "laion400m_e32"), None, PRESETS["openai"]),
        (None, "imagenet", PRESETS["imagenet"]),
        ({"mean": GREY, "std": GREY, "interpolation": "bilinear"}, "openai", PRESETS["openai"]),
        (
            {"mean": GREY, "std": list(GREY), "interpolation": "bilinear", "size": 240, "resize_mode": "shortest"},
            None,
            {"mean": GREY, "std": GREY, "interpolation": "bilinear"},
        ),
        (
            {"mean": GREY, "std": GREY, "interpolation": "bilinear"},
            {"mean": [0.1, 0.2, 0.3]},
            {"mean": (0.1, 0.2, 0.3), "std": GREY, "interpolation": "bilinear"},
        ),
        ({}, {"interpolation": "bilinear"}, {**PRESETS["openai"], "interpolation": "bilinear"}),
        (None, {"mean": GREY, "std": GREY}, {"mean": GREY, "std": GREY, "interpolation": "bicubic"}),
    ],
    ids=[
        "nothing special",
        "a tag",
        "a preset",
        "preset over stated",
        "stated",
        "mean over stated",
        "bilinear",
        "mean and std",
    ],
)
def test_the_user_takes_precedence_over_the_weights_and_those_over_the_default(stated, chosen, expected):
    assert resolve_preprocessing(stated, chosen, where="weights") == expected


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        ("clip", "openai, imagenet, inception"),
        ({"mean": GREY}, "'mean' and 'std'"),
        ({"mean": (0.5, 0.5), "std": GREY}, "mean to be three"),
        ({"mean": GREY, "std": (0.5, 0.0, 0.5)}, "std to be three positive"),
        ({"mean": GREY, "std": GREY, "interp": "bilinear"}, "Unknown key.* interp. Expected some of mean, std, interp"),
        ({"mean": GREY, "std": GREY, "interpolation": "cubic"}, "to be 'bicubic' or 'bilinear', but got 'cubic'"),
    ],
)
def test_an_incomplete_choice_is_refused(chosen, match):
    with pytest.raises(ValueError, match=match):
        resolve_preprocessing(None, chosen, where="weights")

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.arrays import split_batch, to_pixels
from tests.hostile_images import picture

SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])),
)


def rgb(values: np.ndarray) -> np.ndarray:
    """Return the first three channels, or a single channel three times."""
    values = values[..., None] if values.ndim == 2 else values
    return values[..., [0, 0, 0]] if values.shape[-1] == 1 else values[..., :3]


@given(arrays(np.uint8, SHAPES))
def test_bytes_stay_as_they_are(image):
    np.testing.assert_array_equal(to_pixels(image, 1).pixels, rgb(image))
    tensor = torch.from_numpy(image if image.ndim == 2 else image.transpose(2, 0, 1).copy())
    np.testing.assert_array_equal(to_pixels(tensor, 1).pixels, rgb(image))


def test_bytes_of_0_and_1_are_read_as_a_dark_frame_with_a_note(caplog):
    frame = np.eye(4, dtype=np.uint8)
    assert to_pixels(frame, 1).notes == ("largest value 1 of 255",)
    assert "multiply by 255" in caplog.text
    caplog.clear()
    assert to_pixels(np.zeros_like(frame), 1).notes == ()
    assert not caplog.text


UNIT = {"min_value": 0, "max_value": 1}


@pytest.mark.slow
@given(st.sampled_from([np.float16, np.float32, np.float64]).flatmap(lambda d: arrays(d, SHAPES, elements=UNIT)))
def test_floats_from_0_to_1_become_single_precision(image):
    pixels = to_pixels(image, 1).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, rgb(image), rtol=1e-6, atol=1e-30)


@settings(max_examples=80)
@given(arrays(np.float32, SHAPES))
def test_floats_outside_0_to_1_are_refused_and_never_guessed(image):
    if np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1:
        assert to_pixels(image, 1).pixels.max() <= 1
    else:
        with pytest.raises(ImageError, match=r"not finite|where \[0, 1\] is expected"):
            to_pixels(image, 1)


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        (np.array([[0.0, 255.0]]), "Divide by"),
        (np.array([[-2.0, 2.0]]), "before it is normalised"),
        (np.array([[np.nan, 0.5]]), "not finite"),
        (np.array([[0, 255]]), "uint8"),
        (np.array([[1j]]), "uint8"),
    ],
)
def test_a_range_that_cannot_be_determined_names_the_remedy(values, remedy):
    with pytest.raises(ImageError, match=remedy):
        to_pixels(values, 1)


def test_sixteen_bit_and_boolean_arrays_have_their_range():
    assert to_pixels(np.array([[65535, 0]], np.uint16), 1).pixels[0, :, 0].tolist() == [1, 0]
    assert to_pixels(np.array([[True, False]]), 1).pixels[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"transpose\(1, 2, 0\)"),
        (torch.zeros(8, 9, 3), r"permute\(2, 0, 1\)"),
        (np.zeros((8, 9, 5), np.uint8), "C is one of 1, 3, 4"),
        (np.zeros(8, np.uint8), r"\(8,\)"),
        (np.zeros((0, 9, 3), np.uint8), r"\(0, 9, 3\)"),
    ],
)
def test_a_shape_that_does_not_fit_names_the_remedy(image, hint):
    with pytest.raises(ImageError, match=hint):
        to_pixels(image, 1)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "1", "I;16", "F", "LA", "YCbCr", "HSV", "LAB"])
def test_every_mode_of_pillow_becomes_rgb(mode):
    image = picture("RGB").convert("L").convert("LA") if mode == "LA" else picture(mode)
    assert to_pixels(image, 1).pixels.shape == (40, 56, 3)


def test_a_pillow_image_and_its_array_are_the_same():
    image = picture()
    np.testing.assert_array_equal(to_pixels(image, 1).pixels, to_pixels(np.asarray(image), 1).pixels)


def test_an_image_above_the_limit_is_refused():
    for image in (np.zeros((1000, 2000), np.uint8), Image.new("L", (2000, 1000))):
        with pytest.raises(ImageError, match=r"2\.0 megapixels"):
            to_pixels(image, 1.9)


def test_half_precision_and_gradients_do_not_matter():
    image = torch.full((3, 2, 2), 0.5, requires_grad=True)
    for converted in (image, image.bfloat16(), image.half()):
        assert (to_pixels(converted, 1).pixels == 0.5).all()


def test_a_batch_is_several_images():
    assert [tuple(i.shape) for i in split_batch(torch.zeros(2, 3, 4, 5)) or []] == [(3, 4, 5)] * 2
    assert split_batch(np.zeros((4, 5, 3))) is None

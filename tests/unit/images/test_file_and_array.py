"""A file and the array written to it give the same image, for every depth, layout and orientation."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile
from anomalib.data import PredictDataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from torchvision.transforms.v2 import Identity

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.arrays import to_pixels
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.images.reading.tensors import to_tensor
from dualclip_lightning.pairing import OrderedDataset
from tests.hostile_images import chunk, exif

TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # fmt: skip
"""The transposition that Pillow applies for each EXIF orientation."""
TYPES = (np.uint8, np.uint16, np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.uint32, np.int64)
ORIENTATIONS = st.integers(1, 8)
UNIT = {"min_value": 0, "max_value": 1}
quick = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate an array of any type as Pillow rotates an image, by rotating the positions of its pixels."""
    if orientation == 1:
        return values
    places = np.arange(values.shape[0] * values.shape[1], dtype=np.int32).reshape(values.shape[:2])
    moved = np.asarray(Image.fromarray(places).transpose(TURNS[orientation]))
    return values.reshape(-1, *values.shape[2:])[moved]


def answer(read, *arguments):
    """Return the pixels, or the message of the error."""
    try:
        return read(*arguments).pixels
    except ImageError as error:
        return str(error)


def check_same(path, values: np.ndarray) -> None:
    """Check that the file, the array, and the item in a run of anomalib's Engine are the same."""
    found, expected = answer(read_picture, path), answer(to_pixels, values, 1)
    if isinstance(expected, str):
        assert found == expected
        return
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    item = OrderedDataset(PredictDataset(path), [0], Identity())[0]
    np.testing.assert_array_equal(item.image.numpy(), to_tensor(expected).numpy())


def samples(kind: type) -> st.SearchStrategy[np.ndarray]:
    shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6)
    shapes = shapes.flatmap(lambda shape: st.sampled_from([shape, (*shape, 3), (*shape, 4)]))
    return shapes.flatmap(lambda shape: arrays(kind, shape, elements=UNIT if issubclass(kind, np.floating) else None))


@pytest.mark.slow
@settings(quick, max_examples=100)
@given(st.sampled_from(TYPES).flatmap(samples), ORIENTATIONS, st.sampled_from("<>"), st.booleans(), st.booleans(),
       st.sampled_from([None, "zlib", "lzw"]))  # fmt: skip
def test_tiff(tmp_path, values, orientation, order, separate, bigtiff, compression):
    colour = values.ndim == 3
    planes = separate and colour and values.shape[:2] != (1, 1)
    tifffile.imwrite(
        tmp_path / "a.tif", values.transpose(2, 0, 1) if planes else values, byteorder=order, bigtiff=bigtiff,
        photometric="rgb" if colour else "minisblack", planarconfig="separate" if planes else "contig",
        compression=compression, extratags=[(274, "H", 1, orientation, True)], metadata=None,
        extrasamples=["unassalpha"] if colour and values.shape[2] == 4 else None,
    )  # fmt: skip
    check_same(tmp_path / "a.tif", turned(values, orientation))


@settings(quick, max_examples=80)
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(samples), ORIENTATIONS)
def test_png(tmp_path, values, orientation):
    content = imagecodecs.png_encode(np.ascontiguousarray(values))
    end = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:end] + chunk(b"eXIf", exif(orientation)[6:]) + content[end:])
    check_same(tmp_path / "a.png", turned(values, orientation))


@settings(quick, max_examples=60)
@given(samples(np.uint16).filter(lambda values: values.ndim == 2 or values.shape[2] == 3), st.integers(256, 65535))
def test_portable_pixmap(tmp_path, values, largest):
    values = np.minimum(values, largest)
    kind = b"P5" if values.ndim == 2 else b"P6"
    header = kind + b"\n# a comment 1 2 3\n%d %d\n%d\n" % (values.shape[1], values.shape[0], largest)
    (tmp_path / "a.ppm").write_bytes(header + values.astype(">u2").tobytes())
    rgb = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1)
    np.testing.assert_allclose(read_picture(tmp_path / "a.ppm").pixels, rgb / largest, atol=1e-6)


@settings(quick, max_examples=60)
@given(samples(np.uint16), st.sampled_from([9, 10, 12, 14, 16]))
def test_jpeg_2000_and_packed_tiff_of_any_depth(tmp_path, values, bits):
    values = values[..., :3] >> (16 - bits)
    expected = (values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1)) / (2**bits - 1)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack",
                     bitspersample=bits, planarconfig="contig", metadata=None)  # fmt: skip
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(values), level=0,
                                                               bitspersample=bits))  # fmt: skip
    for name in ("a.tif", "a.jp2"):
        found = read_picture(tmp_path / name)
        np.testing.assert_allclose(found.pixels, expected, atol=1e-6)
        assert f"{bits} bits a channel" in found.notes


@given(samples(np.uint16))
def test_byte_order_does_not_change_the_image(values):
    np.testing.assert_array_equal(to_pixels(values.astype(">u2"), 1).pixels, to_pixels(values, 1).pixels)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_white_is_zero_where_a_tiff_says_so(tmp_path, kind):
    values = np.arange(12).reshape(3, 4).astype(kind) / (np.float32(11) if kind is np.float32 else 1)
    values = values.astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    white = 1 if kind is np.float32 else np.iinfo(kind).max
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.tif").pixels, to_pixels((white - values).astype(kind), 1).pixels
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_ink_is_converted_alike_at_either_depth(tmp_path, bits):
    rng = np.random.default_rng(0)
    ink = rng.integers(0, 256, (9, 8, 4), dtype=np.uint8)
    values = ink if bits == 8 else ink.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="separated", planarconfig="contig")
    shares = ink / 255
    expected = (1 - shares[..., :3]) * (1 - shares[..., 3:])
    pixels = to_tensor(read_picture(tmp_path / "a.tif").pixels).permute(1, 2, 0)
    np.testing.assert_allclose(pixels, expected, atol=1.5 / 255 if bits == 8 else 1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_alpha_that_was_multiplied_in_is_taken_out(tmp_path, kind):
    largest = 1 if kind is np.float32 else np.iinfo(kind).max
    colour = np.linspace(0, 1, 36).reshape(4, 3, 3)
    stored = np.concatenate([colour * 0.5, np.full((4, 3, 1), 0.5)], axis=-1) * largest
    stored[0, 0] = 0
    tifffile.imwrite(tmp_path / "a.tif", stored.astype(kind), photometric="rgb", extrasamples=["assocalpha"])
    expected = colour.copy()
    expected[0, 0] = 0
    pixels = to_tensor(read_picture(tmp_path / "a.tif").pixels).permute(1, 2, 0)
    np.testing.assert_allclose(pixels, expected, atol=0.01 if kind is np.uint8 else 1e-4)


def test_lab_becomes_the_colours_that_it_names(tmp_path):
    from skimage.color import lab2rgb

    lab = np.array([[[60, 20, 30], [60, -30, 10], [50, 5, -20], [90, 0, 0]]], dtype=np.float64)
    stored = np.stack([lab[..., 0] * 2.55, lab[..., 1], lab[..., 2]], axis=-1).round().astype(np.int16).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="cielab")
    found = read_picture(tmp_path / "a.tif")
    np.testing.assert_allclose(found.pixels / 255, lab2rgb(lab), atol=0.03)
    assert found.notes == ("LAB converted to RGB",)


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (np.zeros((4, 5, 3), np.uint16), {"photometric": "cielab"}, "CIELAB.*Save it as RGB"),
        (np.zeros((4, 5, 5), np.uint8), {"photometric": "minisblack", "planarconfig": "contig"}, "5 samples a pixel"),
        (np.zeros((3, 4, 5), np.uint8), {"photometric": "minisblack", "volumetric": True}, "3 layer"),
        (np.zeros((4, 5), np.complex64), {"photometric": "minisblack"}, "complex64"),
        (np.zeros((4, 5, 40), np.uint16), {"photometric": "minisblack", "planarconfig": "contig"}, "40 samples"),
    ],
    ids=["lab", "five bands", "volume", "complex", "spectrum"],
)
def test_unknown_colour_spaces_are_refused(tmp_path, values, options, sentence):
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(ImageError, match=sentence):
        read_picture(tmp_path / "a.tif")


def test_the_first_page_of_several_is_read_with_a_note(tmp_path):
    pages = np.random.default_rng(0).integers(0, 65536, (3, 4, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", metadata=None)
    found = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.pixels, to_pixels(pages[0], 1).pixels)
    assert "first of 3 frames" in found.notes


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_deep_tiff_that_is_cut_short_is_refused_anywhere(tmp_path, compression):
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "whole.tif", values, photometric="rgb", compression=compression, rowsperstrip=8)
    whole = (tmp_path / "whole.tif").read_bytes()
    for length in (9, 200, 1500, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with pytest.raises(ImageError):
            read_picture(tmp_path / "a.tif")


def test_an_image_of_12_bits_in_16_keeps_its_levels_and_is_noted_as_dark(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.stack([values] * 3, axis=-1)))
    found = read_picture(tmp_path / "a.png")
    assert len(np.unique(found.pixels)) == 4096
    assert found.notes == ("16 bits a channel", "largest value 4095 of 65535")
    assert to_pixels(values, 1).notes == found.notes


def test_a_pillow_image_that_is_not_decoded_yet_is_read_in_full_depth(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    for name in ("a.png", "a.tif"):
        with Image.open(tmp_path / name) as image:
            np.testing.assert_array_equal(to_pixels(image, 1).pixels, to_pixels(values, 1).pixels)
            assert np.asarray(image).shape == (4, 5, 3)  # the user's image is unchanged


@pytest.mark.parametrize("name", ["a.avif", "a.sgi"])
def test_lost_depth_is_noted(tmp_path, name):
    values = np.random.default_rng(0).integers(0, 1024, (8, 8, 3), dtype=np.uint16)
    if name == "a.avif":
        content = imagecodecs.avif_encode(values, level=0, bitspersample=10)
    else:
        header = b"\x01\xda\0\2" + np.array([3, 8, 8, 3], ">u2").tobytes() + np.array([0, 65535], ">u4").tobytes()
        content = header.ljust(512, b"\0") + values.transpose(2, 0, 1)[:, ::-1].astype(">u2").tobytes()
    (tmp_path / name).write_bytes(content)
    bits = 10 if name == "a.avif" else 16
    assert f"{bits} bits a channel reduced to 8" in read_picture(tmp_path / name).notes


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("largest", [0, 1])
def test_a_dark_frame(tmp_path, suffix, largest):
    frame = np.zeros((6, 8, 3), np.uint8)
    frame[2] = largest
    Image.fromarray(frame).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_picture(tmp_path / f"a.{suffix}").pixels, frame)
    assert read_picture(tmp_path / f"a.{suffix}").notes == (("largest value 1 of 255",) if largest else ())
    check_same(tmp_path / f"a.{suffix}", frame)

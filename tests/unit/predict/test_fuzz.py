"""Any input gives a result in its valid range, or an error of one sentence."""

from __future__ import annotations

import io
import re
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from anomalib.data import PredictDataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from PIL import Image, ImageFile
from torchvision.transforms.v2 import Identity

from dualclip_lightning.images.picture import Picture
from dualclip_lightning.images.reading.arrays import to_pixels
from dualclip_lightning.images.reading.decoding import read_picture
from dualclip_lightning.images.reading.tensors import to_tensor
from dualclip_lightning.pairing import OrderedDataset
from dualclip_lightning.predict import Geometry, ImageError, Prediction
from dualclip_lightning.predict.output.pictures.heatmap import draw_heatmap
from tests.hostile_images import SIZE, bomb, encoded, picture, turned

MODES = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La",
         "I;16", "I;16B", "I;16L", "I;16N")  # fmt: skip
KINDS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "TGA", "PPM", "PCX", "SGI", "JPEG2000", "ICO", "PDF")
HEADS = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"BM", b"RIFF", b"P6 9 9 255\n",
         b"\x0a\x05\x01\x08", b"\x01\xda\1\1\0\3")  # fmt: skip
"""First bytes of files of known formats."""
GEOMETRIES = [Geometry(), Geometry("keep"), Geometry("tiles"), Geometry("tiles", tile=200, overlap=0.75)]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
quick = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_pixels(found: Picture) -> None:
    assert found.pixels.ndim == 3
    assert found.pixels.shape[2] == 3
    assert found.pixels.size
    if found.pixels.dtype != np.uint8:
        assert found.pixels.dtype == np.float32
        assert 0 <= found.pixels.min() <= found.pixels.max() <= 1


def check_prediction(found: Prediction, size: tuple[int, ...]) -> None:
    assert found.map.shape == found.size == tuple(size)
    assert np.isfinite(found.map).all()
    assert 0 <= found.map.min() <= found.map.max() <= 1
    assert 0 <= found.score <= 1


def sentence(error: ImageError) -> bool:
    return str(error).endswith(".") and "\n" not in str(error)


def read_or_sentence(path) -> None:
    """Read a file as `predict` and as a run of anomalib's Engine does, and check that the results agree."""
    view = OrderedDataset(PredictDataset(path), [0], Identity())
    try:
        found = read_picture(path)
    except ImageError as error:
        if not sentence(error):
            raise
        with pytest.raises(ValueError, match=re.escape(f"{str(error)[:40]}")):
            view[0]
    else:
        check_pixels(found)
        np.testing.assert_array_equal(view[0].image.numpy(), to_tensor(found.pixels).numpy())


@pytest.mark.slow
@settings(quick, max_examples=100)
@given(scalar_dtypes().flatmap(lambda kind: arrays(kind, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))))
def test_every_array_is_an_image_or_one_sentence(image):
    try:
        found = to_pixels(image, 1)
    except ImageError as error:
        assert sentence(error)  # noqa: PT017 - both ways are right
    else:
        check_pixels(found)


def possible(kind: torch.dtype) -> bool:
    """Return whether PyTorch can make tensors of a type."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.zeros(1).to(kind)
        except (RuntimeError, NotImplementedError, TypeError):
            return False
    return True


TYPES = sorted({kind for kind in vars(torch).values() if isinstance(kind, torch.dtype) and possible(kind)}, key=str)


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_every_type_of_tensor_is_an_image_or_one_sentence(kind):
    image = torch.zeros(3, 4, 5).to(kind)
    try:
        check_pixels(to_pixels(image, 1))
    except ImageError as error:
        assert sentence(error)  # noqa: PT017


@settings(quick, max_examples=80)
@given(st.sampled_from(MODES), st.integers(0, 9), st.integers(0, 9), st.integers(0, 255))
def test_every_mode_and_size_of_pillow_is_an_image_or_one_sentence(mode, width, height, value):
    image = Image.new(mode, (width, height))
    if width * height:
        bands = len(image.getbands())
        image.paste(value if bands == 1 else (value,) * bands, (0, 0, width, height))
    try:
        found = to_pixels(image, 1)
    except ImageError as error:
        assert sentence(error)  # noqa: PT017
    else:
        check_pixels(found)
        assert found.size == (height, width)


@settings(quick, max_examples=100)
@given(st.sampled_from(HEADS), st.binary(max_size=300))
def test_random_bytes_are_an_image_or_one_sentence(tmp_path, head, content):
    path = tmp_path / "fuzzed.png"
    path.write_bytes(head + content)
    read_or_sentence(path)


TIFFS = {
    "plain": {},
    "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "strips": {"compression": "lzw", "rowsperstrip": 3},
    "big": {"bigtiff": True, "byteorder": ">"},
}


def deep_tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", metadata=None, **options)
    return buffer.getvalue()


def originals() -> dict[str, bytes]:
    files = {"turned": turned(), "bomb": bomb()}
    Image.init()
    for kind in KINDS:
        if kind in Image.SAVE:
            files[kind] = encoded(picture("L" if kind == "SGI" else "RGB"), kind)
    files["deep"] = encoded(picture("I;16"), "PNG")
    files["float"] = encoded(picture("F"), "TIFF")
    files["palette"] = encoded(picture("P"), "PNG", transparency=3)
    values = np.random.default_rng(0).integers(0, 65536, (8, 9, 3), dtype=np.uint16)
    files["deep colour"] = imagecodecs.png_encode(values)
    files["deep pixmap"] = b"P6 9 8 65535\n" + values.tobytes()
    files["deep wavelets"] = imagecodecs.jpeg2k_encode(values, level=0)
    files |= {f"deep {name}": deep_tiff(values, **options) for name, options in TIFFS.items()}
    files["compressed"] = encoded(picture("CMYK"), "TIFF", compression="tiff_lzw")
    return files


FILES = originals()


@pytest.mark.slow
@settings(quick, max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_any_change_of_a_file_gives_an_image_or_one_sentence(tmp_path, kind, data):
    content = bytearray(FILES[kind])
    near_the_start = st.integers(0, min(99, len(content) - 1))
    for place in data.draw(st.lists(near_the_start | st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, 12)) if data.draw(st.booleans()) else 0
    path = tmp_path / "fuzzed.jpg"
    path.write_bytes(content[start : data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    read_or_sentence(path)


@settings(quick, max_examples=60)
@given(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF"]), st.data())
def test_a_pillow_image_that_is_decoded_late_is_an_image_or_one_sentence(kind, data):
    content = bytearray(FILES[kind])
    for place in data.draw(st.lists(st.integers(40, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    parser = ImageFile.Parser()
    try:
        parser.feed(bytes(content[: data.draw(st.integers(60, len(content)))]))
        image = parser.close()
        check_pixels(to_pixels(image, 1))
    except ImageError as error:
        assert sentence(error)  # noqa: PT017
    except (OSError, SyntaxError, ValueError, EOFError):
        assert parser.image is None or parser.image.mode  # refused by Pillow itself


SIDES = st.integers(1, 300)


@pytest.fixture(scope="module")
def detectors(make_detector):
    return [make_detector(geometry=geometry) for geometry in GEOMETRIES]


@pytest.mark.slow
@settings(quick, max_examples=30)
@given(st.integers(0, len(GEOMETRIES) - 1), st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3), st.booleans())
def test_maps_have_the_size_of_images_of_any_size(detectors, geometry, sizes, as_float):
    rng = np.random.default_rng(0)
    images = [rng.random((*size, 3)).astype(np.float32) for size in sizes]
    if not as_float:
        images = [np.rint(255 * image).astype(np.uint8) for image in images]
    for prediction, size in zip(detectors[geometry].predict([*images, picture()]), [*sizes, SIZE], strict=True):
        check_prediction(prediction, size)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 4000), (4000, 1), (2, 3000), (7, 5000), (6000, 3)])
@pytest.mark.parametrize("geometry", range(len(GEOMETRIES)))
def test_maps_have_the_size_of_images_of_extreme_shape(detectors, geometry, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image[0, 0] = 255
    prediction = detectors[geometry].predict(image)
    check_prediction(prediction, size)
    assert min(draw_heatmap(image, prediction.patch_map, threshold=0.5).size) > 0


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_colour_has_a_finite_score(detectors, value):
    flat = np.full((50, 70, 3), value, np.uint8)
    for detector in detectors:
        for prediction in detector.predict([flat, flat.copy()]):
            check_prediction(prediction, (50, 70))

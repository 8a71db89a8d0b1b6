from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat

import pytest
import torch
from PIL import Image

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.decoding import read_size
from dualclip_lightning.predict.input.forecast import forecast_tiles
from dualclip_lightning.predict.input.geometry import Geometry
from dualclip_lightning.predict.input.reader import MOST_KEPT_VIEWS
from tests.towers import write_image


@pytest.fixture
def half_a_second(make_detector, monkeypatch):
    """Reader with tiles of 48 pixels, each of which takes half a second on a simulated clock."""
    return tiles_that_take(make_detector, monkeypatch, repeat(0.5))


def tiles_that_take(make_detector, monkeypatch, seconds: Iterator[float]):
    """Return a reader with tiles of 48 pixels; `seconds` gives the simulated time per tile, batch by batch."""
    clock = [0.0]
    forward = DualPathVisionEncoder.forward

    def slow(self, images: torch.Tensor):
        clock[0] += next(seconds) * len(images)
        return forward(self, images)

    monkeypatch.setattr(DualPathVisionEncoder, "forward", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    return make_detector(geometry=Geometry("tiles", overlap=0), batch_size=2)._judge.method.reader


def test_the_forecast_has_the_tiles_and_time_that_the_images_take(half_a_second, tmp_path):
    write_image(tmp_path / "a.png", 0, (96, 144))  # 6 tiles
    write_image(tmp_path / "b.png", 0, (48, 48))
    (tmp_path / "c.png").write_bytes(b"no image")
    said = forecast_tiles(half_a_second, sorted(tmp_path.iterdir()))
    assert said.startswith(
        "7 tiles in 2 images (up to 6 in one); encoding them takes about 4 s on cpu (0.500 s a tile)"
    )
    assert forecast_tiles(half_a_second, sorted(tmp_path.iterdir()), timed=False) == said.split(";")[0] + "."


def test_a_slow_batch_among_others_changes_only_the_range(make_detector, monkeypatch, tmp_path):
    write_image(tmp_path / "a.png", 0, (48, 480))
    first_is_not_counted = iter([9.0, 0.5, 4.0, 0.5])
    said = forecast_tiles(tiles_that_take(make_detector, monkeypatch, first_is_not_counted), [tmp_path / "a.png"])
    assert said.endswith("takes about 5 s on cpu (0.500 s a tile, 5 s to 40 s by single measurements).")


def test_many_tiles_are_encoded_twice(half_a_second, tmp_path):
    count = 100
    assert count > MOST_KEPT_VIEWS
    write_image(tmp_path / "a.png", 0, (480, 480))
    assert "takes about 1 min 40 s" in forecast_tiles(half_a_second, [tmp_path / "a.png"])


def test_a_folder_without_readable_images_is_reported(half_a_second, tmp_path):
    assert forecast_tiles(half_a_second, [tmp_path / "gone.png"]) == "No image to lay tiles over."


def test_sizes_follow_the_exif_orientation(tmp_path):
    exif = Image.Exif()
    for orientation, size in ((1, (20, 30)), (6, (30, 20))):
        exif[0x0112] = orientation
        Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
        assert read_size(tmp_path / "a.jpg") == size
    with pytest.raises(ImageError, match="no such file"):
        read_size(tmp_path / "gone.jpg")

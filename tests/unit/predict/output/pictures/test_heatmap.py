from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dualclip_lightning.images.painting import BAR, overlay
from dualclip_lightning.predict.output.pictures.heatmap import GAP, LONGEST, draw_heatmap, panel_size, shrink
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw

GREY = np.full((200, 200, 3), 128, np.uint8)
PLAIN = Drawer(DRAWINGS["winclip"])


def colour(value: float, low: float = 0, high: float = 1, grey: int = 128) -> tuple[int, ...]:
    return tuple(overlay(grey, np.float32(value), (low, high)))


def flat(value: float) -> np.ndarray:
    return np.full((4, 4), value, np.float32)


def map_panel(drawn, size: int = 200) -> np.ndarray:
    return np.asarray(drawn)[:size, size + GAP : 2 * size + GAP]


def test_one_value_has_one_colour_in_every_image():
    mixed = np.array([[0.3, 0.3], [0.9, 0.0]], np.float32)
    first, second = (map_panel(draw_heatmap(GREY, values, drawer=PLAIN)) for values in (mixed, flat(0.3)))
    assert tuple(first[0, 0]) == tuple(second[0, 0]) == colour(0.3)


def test_a_scale_per_image_is_only_used_on_request():
    drawn = [map_panel(draw_heatmap(GREY, np.array([[0.2, value]], np.float32), None)) for value in (0.3, 0.9)]
    assert tuple(drawn[0][0, -1]) == tuple(drawn[1][0, -1]) == colour(1)
    assert map_panel(draw_heatmap(GREY, flat(0.4), None)).std(axis=(0, 1)).max() == 0


@pytest.mark.parametrize("drawing", [*DRAWINGS.values(), MapDrawing(3, sigma=30.0)])
@pytest.mark.parametrize("scale", [(0.0, 1.0), None])
def test_the_map_is_drawn_as_the_method_draws_it(drawing, scale):
    """The map is drawn at the size at which the model sees the image, so that it equals that of the method."""
    patches = np.random.default_rng(1).random((10, 20), np.float32)
    drawn = np.asarray(draw_heatmap(np.zeros((160, 320, 3), np.uint8), patches, scale, drawer=Drawer(drawing)))
    values = draw(torch.from_numpy(patches)[None], (160, 320), drawing)[0].numpy()
    on_patches = draw(torch.from_numpy(patches)[None], (10, 20), replace(drawing, sigma=drawing.sigma / 16))
    low, high = scale or on_patches.aminmax()
    expected = overlay(0, values, (float(low), float(high)))
    np.testing.assert_array_equal(drawn[160 + GAP : 320 + GAP, :320], expected)


def test_low_scores_leave_the_image_visible_in_grey():
    pixels = np.random.default_rng(3).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    drawn = map_panel(draw_heatmap(pixels, flat(0.4), (0.4, 0.9), drawer=PLAIN)).astype(float)
    luma = pixels @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    np.testing.assert_allclose(drawn, np.repeat(luma[..., None], 3, -1), atol=1.5)


def test_the_contour_encloses_what_lies_above_the_threshold():
    values = np.zeros((5, 5), np.float32)
    values[2, 2] = 1
    plain, outlined = (np.asarray(draw_heatmap(GREY, values, threshold=t, drawer=PLAIN)) for t in (None, 0.5))
    image, score_map = outlined[:, :200], map_panel(outlined)
    changed = (image != plain[:, :200]).any(axis=-1)
    rows, columns = np.nonzero(changed)
    assert 75 <= rows.min() < rows.max() <= 125
    assert 75 <= columns.min() < columns.max() <= 125
    assert not changed[95:105, 95:105].any()
    for panel in (image, score_map):
        assert panel[changed].min(axis=-1).max() == 255  # white, with a dark edge
        assert panel[changed].max(axis=-1).min() < 60


def test_the_highest_place_is_outlined_if_the_drawing_does_not_reach_the_threshold():
    values = np.full((5, 5), 0.1, np.float32)
    values[2, 2] = 0.2
    plain, outlined = (np.asarray(draw_heatmap(GREY, values, threshold=t, drawer=PLAIN)) for t in (None, 0.3))
    rows, columns = np.nonzero((plain[:, :200] != outlined[:, :200]).any(axis=-1))
    assert (abs(rows - 100) < 10).all()
    assert (abs(columns - 100) < 10).all()
    assert rows.size > 0


def test_the_bar_shows_the_scale_and_the_threshold():
    left = 400 + 2 * GAP
    bar = np.asarray(draw_heatmap(GREY, flat(0), (0.0, 1.0)))[:, left : left + BAR]
    np.testing.assert_array_equal(bar[0, 0], colour(1))
    np.testing.assert_array_equal(bar[-1, 0], colour(0))
    marked = np.asarray(draw_heatmap(GREY, flat(0), (0.0, 1.0), threshold=0.25))[:, left : left + BAR]
    rows = np.nonzero((bar != marked).any(axis=(1, 2)))[0]
    assert abs(rows.mean() - 0.75 * 199) <= 1
    outside, plain = (np.asarray(draw_heatmap(GREY, flat(0), (0.5, 1.0), threshold=t)) for t in (0.25, None))
    np.testing.assert_array_equal(outside[:, left:], plain[:, left:])
    other = np.asarray(draw_heatmap(GREY, flat(0), (0.0, 0.5)))[:, left + BAR :]
    assert (other != np.asarray(draw_heatmap(GREY, flat(0)))[:, left + BAR :]).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 40_000), (720, 720), (2000, 1500), (10, 300)])
def test_every_image_is_shown_whole_and_no_larger_than_the_limit(size):
    height, width = panel_size(size)
    assert 8 <= width <= LONGEST
    assert 8 <= height <= LONGEST
    drawn = draw_heatmap(np.full((*size, 3), 200, np.uint8), flat(0.5), threshold=0.4)
    wide = width > height
    assert drawn.height == (2 * height + GAP if wide else height)
    assert drawn.width > (width if wide else 2 * width + GAP)


def test_the_aspect_ratio_is_kept():
    for size in ((1250, 500), (460, 1130), (64, 64), (100, 150)):
        height, width = panel_size(size)
        assert height / width == pytest.approx(size[0] / size[1], rel=0.02)


def test_bytes_and_floats_look_the_same():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    difference = shrink(pixels, (20, 30)).astype(int) - shrink((pixels / 255).astype(np.float32), (20, 30))
    assert np.abs(difference).max() <= 1
    assert pixels is not shrink(pixels, (50, 70))


@pytest.mark.parametrize("scale", [(1.0, 0.0), (0.5, 0.5)])
def test_a_scale_without_extent_is_refused(scale):
    with pytest.raises(ValueError, match="the smaller first"):
        draw_heatmap(GREY, flat(0), scale)

from __future__ import annotations

import numpy as np
import pytest

from dualclip_lightning.images.painting import (
    BAR,
    OPACITY,
    common_scale,
    draw_bar,
    draw_contour,
    mappable,
    overlay,
    to_grey,
)

SCORES = np.linspace(0, 1, 256, dtype=np.float32)


def test_a_higher_score_covers_more_of_the_image():
    """Overlay the same scores on black and on white; the difference is the part of the image that remains."""
    dark, light = (overlay(np.full(256, ground, np.uint8), SCORES, (0.0, 1.0)).astype(int) for ground in (0, 255))
    left = light - dark
    assert (left[0], left[-1]) == pytest.approx((255, 255 * (1 - OPACITY)), abs=1)
    assert (np.diff(left, axis=0) <= 1).all()
    assert (np.diff(left[::16], axis=0) < 0).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_every_step_of_the_scale_looks_different_from_the_ones_before(grey):
    colours = overlay(grey, SCORES[::16], (0.0, 1.0)).astype(int)
    differences = np.abs(colours[:, None] - colours[None]).max(-1)
    assert differences[~np.eye(len(colours), dtype=bool)].min() >= 4


def test_scores_beyond_the_scale_look_like_its_ends():
    low, high = overlay(90, np.array([0.2, 0.5], np.float32), (0.2, 0.5))
    for value, end in ((-3, low), (0.0, low), (0.51, high), (9, high)):
        np.testing.assert_array_equal(overlay(90, np.float32(value), (0.2, 0.5)), end)


def test_the_common_scale_is_that_of_the_quantiles():
    maps = [np.random.default_rng(i).beta(2, 20, (20, 30)).astype(np.float32) for i in range(9)]
    expected = np.quantile(np.stack(maps), (0.5, 0.999), method="inverted_cdf")
    np.testing.assert_allclose(common_scale(iter(maps)), expected, atol=1e-4)


def test_a_common_scale_has_extent_for_uniform_maps_and_for_no_maps():
    for maps in ([], [np.full((3, 3), 0.3, np.float32)], [np.ones((1, 1), np.float32)]):
        low, high = common_scale(maps)
        assert high - low >= 0.01 - 1e-9


@pytest.mark.parametrize("ground", [0, 255])
def test_a_contour_is_a_light_line_inside_and_a_dark_one_outside(ground):
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:30] = True
    panel = np.full((40, 40, 3), ground, np.uint8)
    draw_contour(panel, mask)
    np.testing.assert_array_equal(panel[15, 8:13, 0], [ground, 0, 255, ground, ground])
    np.testing.assert_array_equal(panel[8:13, 15, 0], [ground, 0, 255, ground, ground])


def test_a_contour_is_closed_at_the_edge_of_the_picture_and_there_is_none_without_marks():
    panel = np.full((40, 40, 3), 128, np.uint8)
    draw_contour(panel, np.zeros((40, 40), bool))
    assert (panel == 128).all()
    draw_contour(panel, np.ones((40, 40), bool))
    assert (panel[[0, -1]] == 255).all()
    assert (panel[:, [0, -1]] == 255).all()
    assert (panel[1:-1, 1:-1] == 128).all()


def test_the_numbers_of_a_bar_stand_on_it_and_a_threshold_is_marked_at_its_height():
    plain, marked = (np.asarray(draw_bar(200, (0.0, 1.0), t)) for t in (None, 0.25))
    rows = np.nonzero((plain != marked)[:, :BAR].any(axis=(1, 2)))[0]
    assert abs(rows.mean() - 0.75 * 199) <= 1
    close, closer = (np.asarray(draw_bar(200, (0.5, 0.5 + width)))[:, BAR:] for width in (0.004, 0.002))
    assert (close != closer).any()  # with two digits both would read 0.50


def test_a_figure_has_the_colours_of_a_bar():
    found = mappable((0.2, 0.7)).to_rgba(np.array([0.2, 0.45, 0.7]))[:, :3] * 255
    np.testing.assert_allclose(found, overlay(128, np.array([0.2, 0.45, 0.7], np.float32), (0.2, 0.7)), atol=2)


def test_bytes_and_floats_are_the_same_grey():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    difference = to_grey(pixels, (20, 30)).astype(int) - to_grey((pixels / 255).astype(np.float32), (20, 30))
    assert np.abs(difference).max() <= 1

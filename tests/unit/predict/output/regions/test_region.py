"""Regions, compared with maps made by hand, with scikit-image and with OpenCV."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path
from PIL import Image
from scipy import ndimage
from skimage.measure import label, regionprops

from dualclip_lightning.predict import Prediction, Threshold
from dualclip_lightning.predict.output.pictures.heatmap import GAP, draw_heatmap
from dualclip_lightning.predict.output.regions.region import find_regions, marked_pixels, shrink_mask
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.scoring import DRAWINGS

PLAIN = Drawer(DRAWINGS["winclip"])
MAP = np.array(
    [
        [0.9, 0.1, 0.0, 0.0, 0.0, 0.0],
        [0.1, 0.6, 0.0, 0.0, 0.0, 0.7],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.8],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.6],
    ],
    np.float32,
)
"""A region of two pixels that touch at a corner, and one of three below each other."""
MAPS = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0.25, 0.5, 1]))


def test_regions_of_a_map_made_by_hand():
    first, second = find_regions(MAP, 0.5)
    assert first.box == (0, 0, 2, 2)
    assert first.area == 2
    assert first.centroid == (0.5, 0.5)
    assert (first.peak, first.mean) == pytest.approx((0.9, 0.75))
    assert first.pixels.tolist() == [[True, False], [False, True]]
    assert second.box == (5, 1, 1, 3)
    assert second.centroid == (5, 2)
    assert (second.peak, second.mean) == pytest.approx((0.8, 0.7))
    assert second.polygon.tolist() == [[5, 1], [5, 4], [6, 4], [6, 1]]
    assert second.to_dict() == {
        "box": [5, 1, 1, 3], "area": 3, "centroid": [5, 2], "peak": pytest.approx(0.8), "mean": pytest.approx(0.7),
    }  # fmt: skip


def test_a_normal_image_has_no_region():
    assert find_regions(MAP, None) == []


def test_values_at_the_level_are_not_marked_but_the_highest_is_if_no_other_is_above():
    assert [region.area for region in find_regions(np.array([[0.5, 1.0, 0.5]], np.float32), 0.5)] == [1]
    assert [region.box for region in find_regions(MAP, 0.95)] == [(0, 0, 1, 1)]


@pytest.mark.parametrize(("min_area", "areas"), [(0, [2, 3]), (1, [2, 3]), (2, [2, 3]), (3, [3]), (4, [2])])
def test_small_regions_are_left_out_except_the_highest_of_an_image_that_has_no_other(min_area, areas):
    assert [region.area for region in find_regions(MAP, 0.5, min_area)] == areas
    assert marked_pixels(MAP, 0.5, min_area).sum() == sum(areas)


@given(MAPS, st.sampled_from([0.1, 0.3, 0.6]))
def test_regions_equal_those_of_scikit_image_and_opencv(values, level):
    found = find_regions(values, level)
    mask = values > level if (values > level).any() else values == values.max()
    expected = sorted(
        (*p.bbox, p.area, p.intensity_max, p.intensity_mean, *p.centroid)
        for p in regionprops(label(mask, connectivity=2), intensity_image=values)
    )
    own = sorted((r.y, r.x, r.y + r.height, r.x + r.width, r.area, r.peak, r.mean, *r.centroid[::-1]) for r in found)
    np.testing.assert_allclose(own, expected, rtol=1e-5)
    count, _, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    rows = sorted((*map(int, s), *map(float, c)) for s, c in zip(stats[1:], centroids[1:], strict=True))
    assert count - 1 == len(found)
    np.testing.assert_allclose(sorted((*r.box, r.area, *r.centroid) for r in found), rows)


@given(MAPS, st.sampled_from([0.1, 0.3, 0.6]), st.integers(0, 12))
def test_regions_are_disjoint_and_cover_exactly_the_marked_pixels(values, level, min_area):
    found = find_regions(values, level, min_area)
    counts = np.zeros(values.shape, int)
    for region in found:
        counts[region.y : region.y + region.height, region.x : region.x + region.width] += region.pixels
    np.testing.assert_array_equal(counts, marked_pixels(values, level, min_area))
    assert found
    assert [region.peak for region in found] == sorted((region.peak for region in found), reverse=True)
    assert len(found) == 1 or min(region.area for region in found) >= min_area


@given(MAPS, st.sampled_from([0.1, 0.3, 0.6]))
def test_the_polygon_contains_exactly_the_pixels_and_holes_of_its_region(values, level):
    for region in find_regions(values, level):
        x, y = region.polygon.T.astype(float)
        filled = ndimage.binary_fill_holes(region.pixels)
        assert abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2 == filled.sum()
        rows, columns = np.indices(region.pixels.shape)
        centres = np.stack([columns.ravel() + region.x + 0.5, rows.ravel() + region.y + 0.5], axis=1)
        inside = Path(np.vstack([region.polygon, region.polygon[:1]]), closed=True).contains_points(centres)
        np.testing.assert_array_equal(inside.reshape(filled.shape), filled)
        assert (x.min(), y.min(), np.ptp(x), np.ptp(y)) == region.box


SIDES = st.integers(1, 12)


@given(arrays(bool, st.tuples(SIDES, SIDES)), SIDES, SIDES)
def test_a_resized_mask_has_every_pixel_that_stands_for_a_marked_one(mask, height, width):
    small = shrink_mask(mask, (height, width))
    rows, columns = np.arange(height + 1) * mask.shape[0] // height, np.arange(width + 1) * mask.shape[1] // width
    expected = [
        [mask[top : max(bottom, top + 1), left : max(right, left + 1)].any()
         for left, right in itertools.pairwise(columns)]
        for top, bottom in itertools.pairwise(rows)
    ]  # fmt: skip
    np.testing.assert_array_equal(small, expected)
    assert small.any() == mask.any()


def prediction(**changes) -> Prediction:
    return Prediction(
        **{"name": "a.png", "score": 0.9, "patch_map": MAP, "size": (40, 60), "threshold": Threshold(0.4),
           "drawer": PLAIN} | changes
    )  # fmt: skip


def test_regions_and_mask_of_a_prediction_agree_at_the_size_of_the_image():
    found = prediction()
    assert sum(region.area for region in found.regions) == found.mask.sum() > 0
    assert len(found.regions) == label(found.mask, connectivity=2).max()
    assert found.regions[0].peak == found.map.max()
    largest = max(region.area for region in found.regions)
    small = prediction(min_area=largest)
    assert [region.area for region in small.regions] == [largest] == [small.mask.sum()]


def test_a_prediction_has_no_regions_if_it_is_normal_and_none_are_known_without_a_decision():
    assert prediction(score=0.1).regions == []
    assert prediction(threshold=None).regions is None


def outlined(drawn: Image.Image, plain: Image.Image, side: int = 200) -> np.ndarray:
    """Return the pixels of the image's panel that an outline has changed."""
    return (np.asarray(drawn) != np.asarray(plain))[:side, :side].any(axis=2)


@pytest.mark.slow
def test_the_heatmap_outlines_the_regions_of_the_image_even_if_its_panel_is_smaller():
    patch_map = np.zeros((100, 100), np.float32)
    patch_map[20, 30] = 1.0
    patch_map[70:80, 60:75] = 1.0
    pixels, drawer = np.full((2880, 2880, 3), 128, np.uint8), Drawer(DRAWINGS["winclip"])
    found = prediction(patch_map=patch_map, size=(2880, 2880), drawer=drawer)
    level = found.threshold.level(found, patch_map)
    plain = draw_heatmap(pixels, patch_map, drawer=drawer)
    for min_area in (0, 20_000):
        drawn = draw_heatmap(pixels, patch_map, threshold=level, drawer=drawer, min_area=min_area)
        areas = label(ndimage.binary_fill_holes(outlined(drawn, plain, 720)), connectivity=2)
        expected = find_regions(found.map, level, min_area)
        assert len(expected) == (2 if min_area == 0 else 1)
        boxes = sorted(tuple(np.array(p.bbox) * 4) for p in regionprops(areas))
        wanted = sorted((r.y, r.x, r.y + r.height, r.x + r.width) for r in expected)
        np.testing.assert_allclose(boxes, wanted, atol=8)  # one panel pixel for the rounding and one for the black edge
    assert plain.width == 2 * 720 + 2 * GAP + 78


def test_regions_lie_in_the_image_as_it_is_displayed(tmp_path, make_detector):
    """A rotated file and the same image stored upright have the same regions."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8))
    image.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be displayed rotated by 90 degrees clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "rotated.png", exif=exif)
    detector = make_detector(compare_with="none", threshold=0.0)
    upright, rotated = (detector.predict(tmp_path / name) for name in ("upright.png", "rotated.png"))
    assert rotated.size == (48, 72)
    assert rotated.regions == upright.regions != []


@pytest.mark.parametrize("geometry", ["keep", "squash", "tiles"])
def test_regions_lie_within_the_image_for_every_geometry(make_detector, geometry):
    detector = make_detector(compare_with="none", threshold=0.0, geometry=geometry)
    found = detector.predict(np.random.default_rng(1).integers(0, 256, (70, 131, 3), dtype=np.uint8))
    assert found.mask.shape == (70, 131)
    boxes = np.array([region.box for region in found.regions])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= (131, 70)).all()
    assert sum(region.area for region in found.regions) == found.mask.sum()


def test_the_minimum_area_of_a_detector_reaches_its_predictions_and_changes_no_setting(make_detector):
    detector = make_detector(compare_with="none", threshold=0.0, min_area=10_000)
    found = detector.predict(np.zeros((48, 64, 3), np.uint8))
    assert found.min_area == 10_000
    assert len(found.regions) == 1
    assert detector.settings == make_detector(compare_with="none", threshold=0.0).settings
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="Expected min_area to be a whole number of at least 0"):
            make_detector(min_area=wrong)

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.metrics.functional import ap_trapezoid, exact_curve, image_metrics, pixel_metrics, pro_200
from dualclip_lightning.metrics.ranking import THREAD_SIZE, rank
from dualclip_lightning.metrics.regions import region_areas
from tests.unit.metrics import references

EXACT = {"abs": 1e-9}
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
FEW = st.sampled_from([-2.0, -0.0, 0.0, 0.5, 0.5000001, 1.0, 3.0])


@st.composite
def image_sets(draw):
    count = draw(st.integers(2, 40))
    labels = draw(arrays(bool, count).filter(lambda found: found.any() and not found.all()))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return draw(arrays(np.float32, count, elements=draw(st.sampled_from([FLOAT32, FEW])))).astype(dtype), labels


@st.composite
def pixel_sets(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(2, 6)))
    masks = draw(arrays(bool, shape).filter(lambda found: found.any() and not found.all()))
    return draw(arrays(np.float32, shape, elements=draw(st.sampled_from([FLOAT32, FEW])))), masks


@pytest.mark.slow
@given(image_sets())
@settings(max_examples=60, deadline=None)
def test_the_trapezoidal_ap_is_the_area_under_scikit_learns_curve(data):
    scores, labels = data
    precision, recall, _ = sklearn.metrics.precision_recall_curve(labels, scores)
    curve = exact_curve(rank([scores], scores[labels], np.ones(labels.sum(), np.int32)))
    assert float(ap_trapezoid(curve)) == pytest.approx(sklearn.metrics.auc(recall, precision), **EXACT)


@pytest.mark.slow
@given(image_sets())
@settings(max_examples=60, deadline=None)
def test_image_metrics_equal_scikit_learn(data):
    scores, labels = data
    assert image_metrics(scores, labels) == pytest.approx(references.ranked(scores, labels), **EXACT)


@pytest.mark.slow
@given(pixel_sets(), st.sampled_from([0.05, 0.3, 1.0]))
@settings(max_examples=50, deadline=None)
def test_pixel_metrics_equal_scikit_learn_and_a_plain_implementation_of_pro(data, limit):
    maps, masks = data
    found, expected = pixel_metrics(maps, masks, limit), references.every(maps, masks, limit=limit)
    rates = [(maps[~masks] >= t).mean() for t in np.unique(maps)]
    if limit in rates:  # If the overlap jumps exactly at the limit, the plain implementation may take either side.
        del found["pro"], expected["pro"]
    assert found == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("kind", references.KINDS)
def test_pixel_metrics_are_right_for_any_distribution_of_scores(kind):
    maps, masks = references.maps_and_masks(kind, images=9)
    assert pixel_metrics(maps, masks) == pytest.approx(references.every(maps, masks), **EXACT)


@given(pixel_sets(), st.permutations(range(4)))
@settings(max_examples=50, deadline=None)
def test_an_increasing_transform_and_the_order_of_images_change_nothing(data, order):
    maps, masks = data
    expected = pixel_metrics(maps, masks)
    places = np.unique(maps, return_inverse=True)[1].reshape(maps.shape)
    assert pixel_metrics(np.exp(places / 8.0) - 7, masks) == pytest.approx(expected, **EXACT)
    order = [i for i in order if i < len(maps)]
    assert pixel_metrics(maps[order], masks[order]) == pytest.approx(expected, **EXACT)


@given(pixel_sets(), st.integers(0, 10**6), st.booleans())
@settings(max_examples=50, deadline=None)
def test_no_metric_falls_when_an_anomalous_pixel_rises(data, choice, to_the_top):
    maps, masks = data
    levels, places = np.unique(maps, return_inverse=True)
    raised = places.reshape(maps.shape).copy()
    before = pixel_metrics(raised, masks)
    raised[tuple(np.argwhere(masks)[choice % masks.sum()])] += levels.size if to_the_top else 1
    after = pixel_metrics(raised, masks)
    if not to_the_top:  # Breaking a tie with other anomalous pixels may lower AP, because those do not gain.
        del before["ap"]
    assert all(after[name] >= value - 1e-9 for name, value in before.items())


def test_perfect_reversed_and_constant_scores():
    labels = np.array([0, 0, 1, 1, 1])
    assert image_metrics([0, 1, 2, 3, 4], labels) == {"auroc": 1, "ap": 1, "f1max": 1}
    assert image_metrics([4, 3, 2, 1, 0], labels)["auroc"] == 0
    assert image_metrics([7] * 5, labels) == pytest.approx({"auroc": 0.5, "ap": 0.6, "f1max": 0.75})
    masks = np.zeros((2, 4, 4), bool)
    masks[0, :2] = masks[1, 3, 3] = True
    constant = pixel_metrics(np.full(masks.shape, 0.5), masks)
    assert constant["pro"] == pytest.approx(0.15)
    assert pixel_metrics(masks * 2.0, masks)["pro"] == 1


def test_scores_outside_0_and_1_are_ranked_as_they_are():
    random = np.random.default_rng(0)
    labels = random.random(4000) < 0.1
    scores = random.normal(size=4000) * 0.3 + 0.5 + 0.2 * labels
    assert scores.max() > 1
    assert image_metrics(scores, labels) == pytest.approx(references.ranked(scores, labels), **EXACT)
    assert image_metrics(scores - 1e3, labels) == pytest.approx(references.ranked(scores, labels), **EXACT)


def test_each_region_has_the_same_weight_in_any_size_and_image():
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :10, :10] = masks[1, 5, 5] = masks[1, 15, 15] = True
    maps = np.zeros(masks.shape)
    maps[0, :10, :10] = 1
    assert pixel_metrics(maps, masks)["pro"] == pytest.approx(1 / 3 + 2 / 3 * 0.15)


def test_pixels_that_touch_at_a_corner_are_one_region_unless_told_otherwise():
    mask = np.zeros((6, 6), bool)
    mask[[0, 1, 2, 4], [0, 1, 1, 5]] = True
    assert region_areas(mask).tolist() == [3, 3, 3, 1]
    assert region_areas(mask, 4).tolist() == [1, 2, 2, 1]
    maps, masks = references.maps_and_masks(images=5, size=16)
    masks = np.random.default_rng(0).random(masks.shape) < 0.3
    for neighbours, connectivity in [(references.EIGHT, 8), (references.FOUR, 4)]:
        expected = references.per_region_overlap(maps, masks, neighbours=neighbours)
        assert pixel_metrics(maps, masks, connectivity=connectivity)["pro"] == pytest.approx(expected, **EXACT)


def test_more_regions_than_16_bits_can_count():
    mask = np.zeros((600, 600), bool)
    mask[::2, ::2] = True
    assert region_areas(mask).sum() == 90_000


@pytest.mark.parametrize("kind", ["plain", "good", "few values", "outlier"])
def test_pro_200_is_the_loop_over_200_thresholds(kind):
    maps, masks = references.maps_and_masks(kind, images=7)
    if kind == "outlier":
        maps = np.minimum(maps, 40)
    areas = np.concatenate([region_areas(mask) for mask in masks])
    found = pro_200(rank([maps.ravel()], maps[masks], areas))
    assert found == pytest.approx(references.per_region_overlap_200(maps, masks), **EXACT)
    if kind == "plain":
        assert found != pytest.approx(pixel_metrics(maps, masks)["pro"], abs=1e-4)


def test_pro_200_of_a_constant_map_does_not_exist():
    assert np.isnan(pro_200(rank([np.ones(9, np.float32)], np.ones(2, np.float32), np.ones(2, np.int32))))


def test_sorting_in_threads_changes_nothing():
    random = np.random.default_rng(0)
    scores = random.integers(0, 10**6, 3 * THREAD_SIZE).astype(np.float32)
    labels = random.random(scores.size) < 0.01
    curves = [
        exact_curve(rank([scores], scores[labels], np.ones(labels.sum(), np.int32), threads)) for threads in (1, 3)
    ]
    assert all(np.array_equal(*pair) for pair in zip(*curves, strict=True))


@pytest.mark.slow
def test_counts_beyond_single_precision_are_exact():
    """Rank single anomalous among many normal scores, and the reverse."""
    scores = np.repeat(np.float32([0, 1]), [2**24 + 1, 3])
    labels = np.zeros(scores.size, bool)
    labels[[0, -1]] = True
    expected = (2**24 / 2 + 2**24 + 1) / (2 * (2**24 + 2))
    found, reverse = image_metrics(scores, labels), image_metrics(scores, ~labels)
    assert found["auroc"] == pytest.approx(expected, abs=1e-12)
    assert found["ap"] == pytest.approx(1 / 2 / 3 + 1 / 2 * 2 / (2**24 + 4), abs=1e-12)
    assert reverse["auroc"] == pytest.approx(1 - expected, abs=1e-12)
    assert reverse["ap"] == pytest.approx((2 * 2 / 3 + 2**24 * (2**24 + 2) / (2**24 + 4)) / (2**24 + 2), abs=1e-12)

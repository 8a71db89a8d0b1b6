from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualclip_lightning.metrics.functional import pixel_metrics
from dualclip_lightning.metrics.ranking import rank
from dualclip_lightning.metrics.regions import region_areas
from dualclip_lightning.metrics.summary import Summary, bounds, merge, observe, pack, prune, unpack
from tests.unit.metrics import references

ROUNDING = 1e-9


def ranking(maps, masks):
    return rank([maps.ravel()], maps[masks], np.concatenate([region_areas(mask) for mask in masks]))


def summarise(maps, masks, images=1, **options) -> Summary:
    parts = [slice(start, start + images) for start in range(0, len(maps), images)]
    return reduce(lambda s, part: observe(s, ranking(maps[part], masks[part]), **options), parts, Summary.empty())


def assert_enclosed(summary, maps, masks, widest=1.0):
    expected = pixel_metrics(maps, masks)
    for name, (value, low, high) in bounds(summary).items():
        assert low - ROUNDING <= expected[name] <= high + ROUNDING, name
        assert low - ROUNDING <= value <= high + ROUNDING, name
        assert high - low <= widest, name
    return expected


@pytest.mark.parametrize("kind", references.KINDS)
def test_the_exact_figures_lie_within_the_bounds_and_near_the_estimate(kind):
    maps, masks = references.maps_and_masks(kind, images=40, size=100)
    summary = summarise(maps, masks, images=3)
    expected = assert_enclosed(summary, maps, masks, widest=2e-3)
    assert {name: value for name, (value, _, _) in bounds(summary).items()} == pytest.approx(expected, abs=2e-4)


@st.composite
def streams(draw):
    shape = draw(st.tuples(st.integers(2, 6), st.integers(2, 5), st.integers(2, 5)))
    masks = draw(arrays(bool, shape).filter(lambda found: found.any() and not found.all()))
    few = st.sampled_from([-1.0, 0.0, 0.5, 0.50000006, 2.0, 3e38])
    values = draw(st.sampled_from([few, st.floats(width=32, allow_nan=False, allow_infinity=False)]))
    return draw(arrays(np.float32, shape, elements=values)), masks


@pytest.mark.slow
@given(streams(), st.integers(1, 3), st.sampled_from([4, 9, 10**5]))
@settings(max_examples=60, deadline=None)
def test_the_bounds_hold_for_any_stream_batches_and_budget(data, images, budget):
    maps, masks = data
    summary = summarise(maps, masks, images, budget=budget)
    assert summary.thresholds.size <= budget
    assert_enclosed(summary, maps, masks)
    halves = [summarise(maps[i::2], masks[i::2], images, budget=budget) for i in range(2)]
    assert_enclosed(merge(*halves), maps, masks)
    assert (summary.lower <= summary.upper).all()
    assert (np.diff(summary.lower, axis=0) >= -ROUNDING).all()


@pytest.mark.parametrize("kind", ["few values", "constant"])
def test_tied_scores_are_exact_and_need_few_thresholds(kind):
    maps, masks = references.maps_and_masks(kind, images=20, size=200)
    summary = summarise(maps, masks)
    assert summary.thresholds.size < 60
    expected = pixel_metrics(maps, masks)
    assert {name: value for name, (value, _, _) in bounds(summary).items()} == pytest.approx(expected, abs=2e-6)


def test_values_that_differ_only_in_double_precision_are_distinguished():
    maps, masks = references.maps_and_masks(images=8, dtype=np.float64)
    near = 1 + 1e-12 * maps
    assert np.unique(near.astype(np.float32)).size == 1
    assert_enclosed(summarise(near, masks), near, masks, widest=2e-2)


def test_a_budget_that_is_too_small_widens_the_bounds_and_keeps_them_true():
    maps, masks = references.maps_and_masks("drift up", images=30, size=64)
    summary = summarise(maps, masks, budget=300)
    assert summary.thresholds.size <= 300
    assert_enclosed(summary, maps, masks, widest=0.2)
    assert prune(summary, 50).thresholds.size <= 50
    assert_enclosed(prune(summary, 50), maps, masks, widest=0.9)


@pytest.mark.slow
def test_merging_is_near_one_stream_and_in_any_order_the_same():
    maps, masks = references.maps_and_masks(images=40, size=64)
    first, second = summarise(maps[:13], masks[:13]), summarise(maps[13:], masks[13:])
    assert_enclosed(merge(first, second), maps, masks, widest=4e-3)
    for one, other in zip(merge(first, second), merge(second, first), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_packing_is_lossless():
    maps, masks = references.maps_and_masks(images=4)
    summaries = [summarise(maps[i:], masks[i:]) for i in (0, 2)]
    again = unpack(np.concatenate([pack(summary) for summary in summaries]))
    for one, other in zip(summaries, again, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))
    assert unpack(np.zeros(0)) == []

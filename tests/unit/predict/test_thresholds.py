from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualclip_lightning.predict.thresholds import Threshold, from_good, from_run


def normal_images(count: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(0.3, 0.05, count).tolist()


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (40, 0.05), (99, 0.1), (9, 0.3)])
def test_the_expected_rate_and_its_interval_hold_in_repeated_trials(count, rate):
    rng = np.random.default_rng(0)
    rates, inside = [], 0
    for _ in range(4000):
        found = from_good(scores := rng.exponential(size=count).tolist(), scores, rate)
        actual = float(np.exp(-found.score))  # the share of all further images above it
        rates.append(actual)
        inside += found.interval[0] <= actual <= found.interval[1]
    assert np.mean(rates) == pytest.approx(found.false_alarm_rate, abs=4 * np.std(rates) / 4000**0.5)
    assert found.false_alarm_rate <= rate + 1e-9
    assert inside / 4000 == pytest.approx(0.95, abs=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_no_more_good_images_lie_above_than_the_rate_allows(scores, rate):
    found = from_good(scores, scores, rate)
    assert found.score in scores
    assert sum(found.decide(score) == "anomalous" for score in scores) <= rate * (len(scores) + 1)
    assert found.interval[0] <= found.false_alarm_rate <= found.interval[1]


def test_too_few_good_images_say_how_many_would_do():
    found = from_good([0.1, 0.3, 0.2], [0.5, 0.6, 0.4], 0.05)
    assert (found.score, found.pixel, found.false_alarm_rate) == (0.3, 0.6, pytest.approx(0.25))
    assert "19 would do for 5.0%" in found.describe()
    assert "would do" not in from_good(normal_images(19, 0), normal_images(19, 0), 0.05).describe()


def test_the_robust_threshold_is_that_of_the_normal_majority():
    normal, anomalous = normal_images(4000, 1), [0.9] * 400
    found = from_run(normal, normal, 0.01)
    assert found.score == pytest.approx(0.3 + 2.3263 * 0.05, abs=0.005)
    assert np.mean([found.decide(s) == "anomalous" for s in normal]) == pytest.approx(0.01, abs=0.005)
    mixed = from_run(normal + anomalous, normal + anomalous, 0.01)
    assert all(mixed.decide(s) == "anomalous" for s in anomalous)
    assert mixed.score == pytest.approx(found.score, abs=0.03)
    assert "assuming that more than half are normal" in mixed.describe()


@given(st.lists(st.floats(0, 1, width=16), min_size=8, max_size=30).filter(lambda v: np.median(abs(v - np.median(v)))))
def test_the_robust_threshold_is_median_and_mad_written_out(scores):
    ordered = sorted(scores)
    middle = (ordered[len(scores) // 2] + ordered[(len(scores) - 1) // 2]) / 2
    deviations = sorted(abs(s - middle) for s in scores)
    mad = (deviations[len(scores) // 2] + deviations[(len(scores) - 1) // 2]) / 2
    assert from_run(scores, scores, 0.05).score == pytest.approx(middle + 1.6448536 * 1.4826 * mad, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_good([], []), "at least one good image"),
        (lambda: from_good([0.1], [0.1], 1.0), "above 0 and below 1"),
        (lambda: from_good([float("nan")], [0.1]), "finite"),
        (lambda: from_run([0.1] * 7, [0.1] * 7), "at least 8 images"),
        (lambda: from_run([0.5] * 6 + [0.1, 0.9], [0.5] * 8), "no spread"),
        (lambda: from_run([0.1, float("inf")] * 5, [0.1] * 10), "finite"),
    ],
)
def test_what_gives_no_threshold_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_threshold_survives_its_file(tmp_path):
    for threshold in (from_good([0.1, 0.2], [0.3, 0.4], settings={"seed": 1, "size": (1, 2)}), Threshold(0.5)):
        threshold.save(tmp_path / "t.json")
        loaded = Threshold.load(tmp_path / "t.json")
        assert loaded.describe() == threshold.describe()
        assert (loaded.score, loaded.pixel, loaded.interval) == (threshold.score, threshold.pixel, threshold.interval)
        loaded.check_settings(threshold.settings)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "score": "x", "interval": null}',
     '{"version": 1, "score": NaN, "interval": null}', '{"version": 1, "score": 1, "interval": 3}',
     '{"version": 1, "score": 1, "interval": null, "other": 2}'],
)  # fmt: skip
def test_a_file_that_is_no_threshold_says_how_to_make_one(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"Cannot read a threshold from '.*t\.json'.*--good"):
        Threshold.load(tmp_path / "t.json")


def test_a_threshold_of_other_settings_is_refused_by_name():
    threshold = from_good([0.1], [0.1], settings={"alpha": 0.5, "seed": 0})
    threshold.check_settings({"alpha": 0.5, "seed": 0})
    with pytest.raises(ValueError, match=r"other settings: alpha \(0\.5, now 1\.0\)"):
        threshold.check_settings({"alpha": 1.0, "seed": 0})
    Threshold(0.5).check_settings({"alpha": 1.0})


def test_the_file_is_plain_json(tmp_path):
    from_good([0.1], [0.1]).save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["kind"] == "good"

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from dualclip_lightning.predict.scoring import quantiles
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, for_later_images, from_good, from_run
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold, marked, same_kind

SCORES = st.floats(0, 1, width=32)


class Image(NamedTuple):
    """The properties of an image that a threshold uses."""

    score: float
    peak: float = 0.5
    references: tuple[str, ...] = ("other.png",)


def images(scores, peaks=None, references=("other.png",)) -> list[Image]:
    return [Image(s, p, references) for s, p in zip(scores, scores if peaks is None else peaks, strict=True)]


def words(threshold: Threshold, scored) -> list[str]:
    return [threshold.decide(image).word for image in scored]


@pytest.fixture
def one_interval(monkeypatch):
    """Compute the interval of a run, most of whose time it takes, once for runs of one size."""
    monkeypatch.setattr(quantiles, "_most_normal_above", cache(quantiles._most_normal_above))


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (40, 0.05), (99, 0.1), (9, 0.3)])
def test_the_expected_rate_and_its_interval_hold_in_repeated_trials(count, rate):
    rng = np.random.default_rng(0)
    every = [from_good(images(rng.beta(2, 30, size=count)), rate) for _ in range(600)]  # skewed and bounded
    rates = beta(2, 30).sf([found.score for found in every])  # true share of further images above it
    inside = sum(found.interval[0] <= actual <= found.interval[1] for found, actual in zip(every, rates, strict=True))
    found = every[-1]
    assert np.mean(rates) == pytest.approx(found.false_alarm_rate, abs=4 * np.std(rates) / 600**0.5)
    assert found.false_alarm_rate <= rate + 1e-9
    assert inside / 600 == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(("normal", "anomalous"), [(40, 0), (38, 2), (30, 10), (20, 20)])
@pytest.mark.parametrize("shift", [0.0, 0.3], ids=["chance", "better than chance"])
def test_the_rate_of_an_unlabelled_run_holds_for_any_share_of_anomalies(normal, anomalous, shift, one_interval):
    rng = np.random.default_rng(1)
    rates, inside = [], 0
    for _ in range(200):
        good, bad = rng.beta(2, 30, size=normal), (1 - shift) * rng.beta(2, 30, size=anomalous) + shift
        found = from_run(images([*good, *bad]), 0.1)
        rates.append(np.mean(good > found.score))
        inside += found.interval[0] <= rates[-1] <= found.interval[1]
    assert np.mean(rates) <= found.false_alarm_rate + 4 * np.std(rates) / 200**0.5 + 1e-9
    assert inside / 200 >= 0.95 - 0.04


def test_conformal_p_values_of_further_normal_images_are_no_smaller_than_uniform_ones():
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(500):
        threshold = from_good(images(rng.beta(2, 30, size=29)))
        p_values += [threshold.p_value(score) for score in rng.beta(2, 30, size=4)]
    for level in (0.05, 0.1, 0.3, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 0.03


@given(st.lists(SCORES, min_size=1, max_size=60), st.floats(0.01, 0.5), st.booleans())
def test_every_threshold_can_be_reached_and_decides_as_its_p_values(scores, rate, good):
    try:
        found = (from_good if good else from_run)(images(scores), rate)
    except NoThresholdError:  # tested below
        return
    assert found.score in scores
    assert found.score < 1
    assert found.pixel < 1
    above = [score for score in scores if score > found.score]
    assert len(above) <= rate * (len(scores) + 1)
    assert bool(above) or good
    assert found.interval[0] <= found.false_alarm_rate <= found.interval[1] + 1e-9
    for score in scores:
        assert (found.p_value(score) <= found.false_alarm_rate + 1e-9) == (score > found.score)


def test_with_too_few_good_images_the_number_needed_is_stated():
    found = from_good(images([0.1, 0.3, 0.2], [0.5, 0.6, 0.4]), 0.05)
    assert (found.score, found.pixel, found.false_alarm_rate) == (0.3, 0.6, pytest.approx(0.25))
    assert "(95% interval 0.8% to 70.8%). It comes from 3 images believed good." in found.describe()
    assert found.describe().endswith(" A rate of 5.0% needs 19 good images.")
    assert "needs" not in from_good(images(np.linspace(0.1, 0.3, 19))).describe()


def test_an_unlabelled_run_finds_as_many_as_its_rate_allows():
    found = from_run(images(np.arange(1, 101) / 200), 0.05)
    assert (found.score, found.pixel, found.false_alarm_rate, found.images) == (0.475, 0.475, 0.05, 100)
    assert found.interval == (0.0, pytest.approx(0.1, abs=0.021))  # if 50 are normal: 5 of 50
    assert "the 5 highest of the 100 unlabelled images" in found.describe()
    assert "at most 5.0%" in found.describe()


@pytest.mark.parametrize(("count", "anomalous"), [(20, 0), (60, 0), (60, 20)])
def test_the_rate_that_the_threshold_of_a_run_states_for_later_images_holds(count, anomalous, one_interval):
    """Count false alarms and p-values of images outside the run, over many runs."""
    rng = np.random.default_rng(count + anomalous)
    rates, small, inside = [], [], []
    for _ in range(400):
        scores = np.concatenate([rng.uniform(0, 0.9, count - anomalous), rng.uniform(0, 0.95, anomalous)])
        later = for_later_images(from_run(images(scores)))
        fresh = rng.uniform(0, 0.9, 50)
        rates.append((fresh > later.score).mean())
        small.append(np.mean([later.p_value(score) <= 0.1 for score in fresh]))
        inside.append(1 - later.score / 0.9 <= later.interval[1])  # true share of normal images above
    error = np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= later.false_alarm_rate + 3 * error
    assert np.mean(small) <= 0.1 + 3 * np.std(small) / np.sqrt(len(small))
    assert np.mean(inside) >= 0.92
    if not anomalous:
        assert np.mean(rates) == pytest.approx(later.false_alarm_rate, abs=3 * error)  # and not conservative
        assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_thresholds_for_later_images_do_not_change():
    for threshold in (
        Threshold(0.5),
        from_good(images([0.1, 0.2])),
        for_later_images(from_run(images([0.1] * 39 + [1]))),
    ):
        assert for_later_images(threshold) is threshold


def test_p_values_computed_by_hand():
    good, run = from_good(images([0.1, 0.2, 0.3])), from_run(images(np.arange(1, 21) / 40), 0.1)
    assert [good.p_value(s) for s in (0.05, 0.2, 0.25, 0.9)] == [1, 3 / 4, 2 / 4, 1 / 4]
    assert [run.p_value(s) for s in (0.025, 0.475, 0.5, 0.9)] == [1, 2 / 20, 1 / 20, 1 / 20]
    assert Threshold(0.5).p_value(0.7) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_good([]), "at least one good image"),
        (lambda: from_good(images([0.1]), 1.0), "above 0 and below 1"),
        (lambda: from_good(images([float("nan")])), "finite"),
        (lambda: from_good(images([1.0, 1.0])), "No usable threshold: 1 of 2 good images have the highest possible"),
        (lambda: from_run(images([0.1, 0.2] * 9 + [0.3])), r"threshold: a rate of 5\.0% needs 20.*are 19.*--good"),
        (lambda: from_run(images([0.5] * 3 + [0.1] * 20)), r"No usable threshold: 3 of 23 .*share the highest score"),
        (lambda: from_run(images([0.1, float("inf")] * 10)), "finite"),
        (lambda: from_run(images([0.1]), 0.0), "above 0 and below 1"),
        (lambda: Threshold(1.0), r"threshold to be in \[0, 1\)"),
        (lambda: Threshold(float("nan")), r"threshold to be in \[0, 1\)"),
        (lambda: Threshold(0.5, 1.02), r"pixel threshold to be in \[0, 1\)"),
    ],
)  # fmt: skip
def test_without_a_usable_threshold_the_error_states_the_reason(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_threshold_of_compared_images_does_not_decide_one_without_reference_and_vice_versa():
    compared = from_good(images([0.1, 0.2, 0.3]))
    alone = from_good(images([0.4, 0.5], references=()))
    assert (compared.compared, alone.compared) == (True, False)
    for threshold, references in ((compared, ()), (alone, ("a.png",))):
        decision = threshold.decide(Image(0.9, references=references))
        assert (decision.word, decision.p_value) == ("", None)
        assert decision.reason.startswith("no decision: the image was compared with ")
        assert threshold.level(Image(0.9, references=references), np.ones((2, 2), np.float32)) is None
    assert words(Threshold(0.5), [Image(0.9), Image(0.9, references=())]) == ["anomalous"] * 2


def test_text_scores_do_not_enter_a_threshold_of_compared_images():
    stream = [Image(0.99, references=()), *images(np.linspace(0.1, 0.4, 20))]
    assert same_kind(stream) == stream[1:]
    assert from_good(stream) == from_good(stream[1:])
    assert from_run(stream) == from_run(stream[1:])


@given(
    st.lists(st.lists(SCORES, min_size=4, max_size=4), min_size=1, max_size=4),
    SCORES, st.floats(0, 0.99), st.floats(0, 0.99), st.integers(1, 9),
)  # fmt: skip
def test_an_image_has_marks_if_and_only_if_it_is_anomalous(rows, score, limit, pixel, size):
    patch_map = np.array(rows, np.float32)
    image = Image(score, float(patch_map.max()))
    threshold = Threshold(limit, pixel)
    level = threshold.level(image, patch_map)
    for drawn in (patch_map, np.resize(patch_map.mean(), (size, size))):  # a small map may miss the peak
        assert marked(drawn, level).any() == (threshold.decide(image).word == "anomalous")
    if image.peak > pixel and level is not None:
        np.testing.assert_array_equal(marked(patch_map, level), patch_map.astype(float) > pixel)


def test_an_anomalous_image_with_only_low_pixels_has_its_highest_patch_marked_with_a_note():
    patch_map = np.array([[0.1, 0.2], [0.3, 0.1]], np.float32)
    image, threshold = Image(0.6, 0.3), Threshold(0.5, 0.4)
    assert threshold.decide(image) == Decision(
        "anomalous", None, "no pixel lies above 0.4000, the highest is marked"
    )  # fmt: skip
    np.testing.assert_array_equal(marked(patch_map, threshold.level(image, patch_map)), [[0, 0], [1, 0]])
    assert threshold.level(image, patch_map) == pytest.approx(0.25)


def test_a_threshold_survives_its_file(tmp_path):
    for threshold in (from_good(images([0.1, 0.2], [0.3, 0.4]), settings={"seed": 1, "size": (1, 2)}), Threshold(0.5)):
        threshold.save(tmp_path / "t.json")
        loaded = Threshold.load(tmp_path / "t.json")
        assert loaded.describe() == threshold.describe()
        assert [loaded.decide(Image(s)) for s in (0.1, 0.6)] == [threshold.decide(Image(s)) for s in (0.1, 0.6)]
        assert (loaded.score, loaded.pixel, loaded.interval) == (threshold.score, threshold.pixel, threshold.interval)
        loaded.check_settings(threshold.settings)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 1, "score": 0.5, "interval": null, "scores": []}',
     '{"version": 2, "score": "x", "interval": null, "scores": []}',
     '{"version": 2, "score": NaN, "interval": null, "scores": []}',
     '{"version": 2, "score": 0.5, "interval": 3, "scores": []}',
     '{"version": 2, "score": 0.5, "interval": null, "scores": [2, 1]}',
     '{"version": 2, "score": 0.5, "interval": null, "scores": [], "other": 2}'],
)  # fmt: skip
def test_a_file_without_threshold_is_refused_with_how_to_make_one(content, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError, match=r"Cannot read a threshold from '.*t\.json'.*--good"):
        Threshold.load(tmp_path / "t.json")


def test_a_threshold_of_other_settings_is_refused_by_name():
    threshold = from_good(images([0.1]), settings={"alpha": 0.5, "seed": 0})
    threshold.check_settings({"alpha": 0.5, "seed": 0})
    with pytest.raises(ValueError, match=r"other settings: alpha \(0\.5, now 1\.0\)"):
        threshold.check_settings({"alpha": 1.0, "seed": 0})
    Threshold(0.5).check_settings({"alpha": 1.0})


def test_the_file_is_plain_json(tmp_path):
    from_good(images([0.1])).save(tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["kind"] == "good"


def test_a_threshold_of_a_method_that_was_renamed_fits_it_under_either_name():
    for before, now in [("WinCLIP", "WindowCLIP"), ("WindowCLIP", "WinCLIP"), ("WinCLIP", "WinCLIP")]:
        Threshold(0.5, settings={"method": before, "seed": 0}).check_settings({"method": now, "seed": 0})
    with pytest.raises(ValueError, match=r"method \('WindowCLIP', now 'AnoCLIP'\)"):
        Threshold(0.5, settings={"method": "WinCLIP"}).check_settings({"method": "AnoCLIP"})

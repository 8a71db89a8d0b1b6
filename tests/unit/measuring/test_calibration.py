from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dualclip_lightning.measuring import calibration
from dualclip_lightning.measuring.calibration import (
    Images,
    PairScore,
    bundle_cases,
    good_cases,
    labelled_images,
    run_cases,
)
from tests.towers import write_image

SET = Images("set", [f"g{i}" for i in range(60)], [f"b{i}" for i in range(60)])


def judge(names, seed):
    """Draw the scores of all images from one distribution, with new scores for every seed."""
    rng = np.random.default_rng((seed, len(names)))
    return [PairScore(score, score, ("other",)) for score in rng.beta(2, 30, len(names))]


def better_when_calibrating(names, seed):
    """Give lower scores to images that are scored without anomalous ones, unlike the images that are judged later."""
    return [s._replace(score=s.score / 4) if not any("b" in n for n in names) else s for s in judge(names, seed)]


def worse_than_chance(names, seed):
    """Give the highest scores to normal images."""
    return [s._replace(score=s.score + 0.5 * ("g" in name)) for s, name in zip(judge(names, seed), names, strict=True)]


@pytest.mark.parametrize(("category", "drawings"), [("cork", 4), ("spindle", 1)])
def test_a_material_is_drawn_several_times_and_a_real_image_is_taken_once(monkeypatch, tmp_path, category, drawings):
    def generate(folder, seed):
        for name in ("good/0.png", "bad/1.png"):
            write_image(folder / category / "test" / name, seed=seed)
        return folder

    monkeypatch.setattr(calibration, "generate_demo", generate)
    monkeypatch.setattr(calibration, "demo_folder", lambda seed: tmp_path / f"{seed}")
    found = calibration.demo_images(category)
    assert (len(found.good), len(found.bad)) == (drawings, drawings)


def test_thresholds_from_images_like_those_judged_have_the_stated_rate():
    cases = list(good_cases(SET, judge, (9, 19, 58), 60, 0.05))
    assert [case.promised for case in cases] == pytest.approx([0.1] * 60 + [0.05] * 60)  # 58 leave too few to evaluate
    assert np.mean([case.inside for case in cases]) >= 0.9
    assert np.mean([case.actual for case in cases[60:]]) == pytest.approx(0.05, abs=0.03)


def test_references_set_no_threshold_and_are_not_judged():
    seen = []

    def compare(names, references):
        seen.append((names, references))
        return [PairScore(0.9 * ("b" in name) + 0.001 * int(name[1:]), 0.5, tuple(references)) for name in names]

    cases = list(bundle_cases(SET, compare, (19, 52), 3, 0.05))  # with 52 and four references, too few are left
    assert [case.source for case in cases] == ["4 references, 19 good"] * 3
    for (good, references), (judged, same) in zip(seen[::2], seen[1::2], strict=True):
        assert references == same
        assert sorted([*references, *good, *judged]) == sorted([*SET.good, *SET.bad])
        highest = max(int(name[1:]) for name in good)
        alarms = sum(name in SET.good and int(name[1:]) > highest for name in judged)
        assert cases.pop(0)[2:4] == (0.05, alarms / 37)


def test_a_violated_assumption_is_detected():
    assert np.mean([case.inside for case in good_cases(SET, better_when_calibrating, (19,), 40, 0.05)]) < 0.5
    assert not any(case.inside for case in run_cases(SET, worse_than_chance, (0.5,), 20, 0.1))


def test_runs_have_the_share_of_anomalies_named_and_are_counted_by_their_labels():
    seen = []

    def recording(names, seed):
        seen.append((sum("g" in n for n in names), sum("b" in n for n in names)))
        return [PairScore(0.9 * ("b" in n) + 0.001 * i, 0.5, ("x",)) for i, n in enumerate(names)]

    (first, *_), (half, *_) = ([*run_cases(SET, recording, (share,), 2, 0.1)] for share in (0.0, 0.5))
    assert seen == [(48, 0)] * 2 + [(48, 48)] * 2
    assert (first.promised, first.actual, np.isnan(first.found)) == (4 / 48, 4 / 48, True)
    assert (half.actual, half.found) == (0, 9 / 48)


@pytest.mark.slow
def test_the_program_prints_a_row_for_each_set_and_source(tmp_path, tiny_folder, capsys):
    for i in range(26):
        write_image(tmp_path / "plates" / "test" / ("good", "scratch")[i % 2] / f"{i}.png", seed=i)
    calibration.main([str(tmp_path / "plates"), "--pretrained", str(tiny_folder), "--seeds", "2", "--rate", "0.2"])
    printed = capsys.readouterr().out
    assert "plates" in printed
    assert "run, 50% anomalous" in printed
    assert "run: " in printed
    assert "of 8 cases inside" in printed


def test_a_folder_without_both_kinds_is_refused(tmp_path):
    write_image(tmp_path / "good" / "0.png", seed=0)
    with pytest.raises(ValueError, match="in other folders"):
        labelled_images(tmp_path)


def test_pairs_scored_separately_are_those_of_a_run(detector, tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for seed, path in enumerate(paths):
        write_image(Path(path), seed)
    scored = calibration.judge_with(detector, paths)[0](paths, 0)
    for prediction, mine in zip(detector.predict(paths), scored, strict=True):
        assert mine.references == prediction.references
        assert (mine.score, mine.peak) == pytest.approx((prediction.score, prediction.peak), abs=1e-6)


def test_images_compared_with_fixed_references_score_as_in_a_detector_with_these(detector, tmp_path, tiny_folder):
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for seed, path in enumerate(paths):
        write_image(Path(path), seed)
    scored = calibration.judge_with(detector, paths)[1](paths[2:], paths[:2])
    fixed = calibration.Detector("plate", pretrained=str(tiny_folder), reference_dir=paths[:2], device="cpu")
    for prediction, mine in zip(fixed.predict(paths[2:]), scored, strict=True):
        assert (mine.score, mine.peak) == pytest.approx((prediction.score, prediction.peak), abs=1e-6)


@pytest.fixture
def detector(tiny_folder):
    return calibration.Detector("plate", pretrained=str(tiny_folder), device="cpu")

"""`dualclip calibrate` and `dualclip predict --bundle`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from scipy.stats import beta

from dualclip_lightning.predict import Detector, Threshold
from dualclip_lightning.predict.bundle.calibrate import split
from dualclip_lightning.predict.bundle.calibrate_options import main as calibrate
from dualclip_lightning.predict.bundle.file import read_bundle
from dualclip_lightning.predict.options import main as predict
from tests.towers import write_image

GOOD, REFERENCES = 12, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    for i in range(GOOD):
        write_image(folder / "good" / f"{i}.png", seed=i)
    for i in range(3):
        write_image(folder / "shots" / f"{i}.png", seed=30 + i)
    return folder


@pytest.fixture
def at(folders, tmp_path, monkeypatch):
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make(at, tiny_folder):
    """Function that makes `plate.dualclip` from the good images with more options, and returns the exit status."""
    options = ["good", "--out", "plate.dualclip", "--pretrained", str(tiny_folder), "--device", "cpu"]
    return lambda *more: calibrate([*options, "--class-name", "plate", *more])


@pytest.fixture(scope="module")
def made(folders, tiny_folder):
    """A bundle of the good images."""
    path = folders.parent / "plate.dualclip"
    options = ["--pretrained", str(tiny_folder), "--device", "cpu", "--class-name", "plate"]
    assert calibrate([str(folders / "good"), "--out", str(path), *options]) == 0
    return path


def rows(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "scores.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def score(*more: str) -> int:
    return predict(["shots", "--bundle", "plate.dualclip", "--device", "cpu", "--out", "out", *more])


def wrong(capsys, call, *arguments) -> str:
    """Return the message of a refused command, which is one line."""
    capsys.readouterr()
    try:
        status = call(*arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    *_, message = capsys.readouterr().err.splitlines()
    assert message.startswith("dualclip: ")
    return message


def test_the_threshold_comes_from_the_good_images_that_are_no_references(make, make_detector, capsys):
    assert make("--false-alarm-rate", "0.2") == 0
    printed = capsys.readouterr().out
    bundle = read_bundle("plate.dualclip")
    assert len(bundle.references) == REFERENCES
    good = [f"good/{i}.png" for i in range(GOOD)]
    others = sorted(set(good) - set(bundle.references))
    assert len(others) == GOOD - REFERENCES
    detector = make_detector(reference_dir=list(bundle.references))
    found = detector.predict(others)
    assert all(each.references == bundle.references for each in found)
    scores = sorted(each.score for each in found)
    threshold = Threshold.from_facts(bundle.threshold)
    assert threshold.scores == tuple(scores)
    k = 8  # the smallest of 8 for which (9 - k) / 9 is at most 0.2
    assert (threshold.kind, threshold.images, threshold.score) == ("good", 8, scores[k - 1])
    low, high = beta(9 - k, k).interval(0.95)
    assert f"expected false alarms: {1 / 9:.1%} (95% interval {low:.1%} to {high:.1%})" in printed
    for name in bundle.references:
        assert name in printed


def test_a_run_with_the_bundle_has_the_scores_and_decisions_of_the_detector(make, capsys):
    assert make() == 0
    assert score() == 0
    found = Detector.load("plate.dualclip", device="cpu").predict("shots")
    expected = [(each.name, f"{each.score:.6f}", each.decision) for each in found]
    assert [(row["path"], f"{float(row['score']):.6f}", row["decision"]) for row in rows()] == expected
    record = json.loads(Path("out/run.json").read_text())
    assert record["settings"]["references"] == "folder"
    assert "references" not in record["options"]
    assert record["options"]["threshold"] == "bundle"


def test_the_pictures_of_the_references_are_not_needed(make):
    assert make() == 0
    assert score() == 0
    shutil.rmtree("good")
    assert score("--out", "later", "--fresh") == 0
    columns = ("path", "score", "decision", "p_value", "threshold")
    assert [[row[c] for c in columns] for row in rows("later")] == [[row[c] for c in columns] for row in rows()]


@pytest.mark.slow
def test_the_same_command_continues_and_another_bundle_begins_anew(make, capsys):
    assert make() == 0
    assert score() == 0
    before = rows()
    assert score() == 0
    assert "(3 of them before)" in capsys.readouterr().out
    assert make("--overwrite", "--seed", "5") == 0
    assert score() == 0
    assert rows() == before
    assert [row["score"] for row in rows("out2")] != [row["score"] for row in before]
    assert predict(["shots", "--from", "out2", "--device", "cpu", "--out", "again"]) == 0
    assert [row["score"] for row in rows("again")] == [row["score"] for row in rows("out2")]
    assert [row["decision"] for row in rows("again")] == [row["decision"] for row in rows("out2")]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--alpha", "0.3"], "--alpha contradicts the bundle, which has 0.5"),
        (["--class-name", "screw"], "--class-name contradicts the bundle, which has 'plate'"),
        (["--method", "AnoCLIP"], "--method contradicts the bundle, which has 'DualImageCLIP'"),
        (["--geometry", "squash"], "--geometry contradicts the bundle, which has 'keep'"),
        (["--image-size", "32"], "--image-size contradicts the bundle, which has [48, 48]"),
        (["--reference-dir", "good"], "--reference-dir contradicts the bundle, which has 4 references"),
        (["--compare-with", "stream"], "--compare-with contradicts the bundle, which has references of its own"),
        (["--bank-size", "3"], "--bank-size contradicts the bundle, which has none"),
        (["--tta"], "--tta contradicts the bundle, which has False"),
        (["--set", "neighbourhood=[1,3]"], "--set neighbourhood contradicts the bundle"),
        (["--threshold", "0.5"], "--threshold contradicts the bundle, which has a threshold of 0."),
        (["--false-alarm-rate", "0.1"], "--false-alarm-rate contradicts the bundle"),
        (["--good", "good"], "make another bundle with 'dualclip calibrate'"),
        (["--from", "old.json"], "--from and --bundle exclude each other"),
        (["--from", "old.json", "--set", "lowest=0.3"], "--from and --bundle exclude each other"),
        (["--set", "alpha"], "expected NAME=VALUE"),
    ],
)
def test_options_that_contradict_the_bundle_are_refused_by_name(at, made, capsys, options, part):
    shutil.copy(made, "plate.dualclip")
    settings = {**read_bundle(made).settings, "vv_blocks": [2]}  # one that a former run passes on as --set
    Threshold(0.5, settings=settings).save("old.json")
    assert part in wrong(capsys, score, *options)
    assert not Path("out").exists()


def test_options_that_agree_with_the_bundle_or_concern_only_results_are_taken(make, tiny_folder):
    assert make("--spatial-window", "0.5") == 0
    agreeing = "--class-name plate --alpha 0.5 --spatial-window 0.5 --image-size 48 --geometry keep --seed 0"
    others = f"--no-heatmaps --gallery 0 --batch-size 2 --maps --exclude 0.png --min-area 9 --pretrained {tiny_folder}"
    assert score(*agreeing.split(), *others.split()) == 0
    assert [row["path"] for row in rows()] == ["shots/1.png", "shots/2.png"]
    assert not Path("out/heatmaps").exists()
    assert len(list(Path("out/maps").iterdir())) == 2


def test_a_stream_goes_on_from_the_images_in_the_bundle(make_detector, at):
    detector = make_detector(compare_with="stream", bank_size=2, threshold=0.5)
    detector.predict(["good/0.png", "good/1.png", "good/2.png"])
    detector.save("plate.dualclip")
    expected = detector.predict("shots")
    assert expected[0].references == ("good/2.png", "good/1.png")
    assert score() == 0
    assert [row["references"] for row in rows()] == ["2"] * 3
    assert [float(row["score"]) for row in rows()] == pytest.approx([each.score for each in expected], abs=1e-6)


def test_a_bundle_without_a_threshold_takes_one_from_the_options(make_detector, at):
    make_detector(reference_dir="good", threshold=None).save("plate.dualclip")
    assert score() == 0
    assert {row["decision"] for row in rows()} == {""}
    assert score("--threshold", "0.001", "--out", "decided") == 0
    assert {row["decision"] for row in rows("decided")} == {"anomalous"}


def test_other_weights_and_unusable_bundles_are_refused_in_one_line(make, capsys, tmp_path):
    from dualclip_lightning.testing.tiny_clip import save_folder, tiny_clip

    assert make() == 0
    (tmp_path / "other").mkdir()
    save_folder(tiny_clip(seed=1), tmp_path / "other")
    assert "Set pretrained (--pretrained)" in wrong(capsys, score, "--pretrained", "other")
    content = Path("plate.dualclip").read_bytes()
    Path("plate.dualclip").write_bytes(content[: len(content) // 2])
    assert "Cannot read a bundle from 'plate.dualclip'" in wrong(capsys, score)
    Path("plate.dualclip").unlink()
    assert "There is no bundle 'plate.dualclip'" in wrong(capsys, score)


def test_an_existing_bundle_is_kept_unless_overwriting_is_asked_for(make, capsys):
    Path("plate.dualclip").write_text("something dear")
    assert "(--overwrite) to replace it" in wrong(capsys, make)
    assert Path("plate.dualclip").read_text() == "something dear"
    assert make("--overwrite") == 0
    assert read_bundle("plate.dualclip").references


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--num-references", "12"], "Expected more than 12 images"),
        (["--num-references", "-1"], "--num-references: expected a whole number from 0, but got '-1'"),
        (["--false-alarm-rate", "2"], "expected a share above 0 and below 1"),
        (["--method", "MuSc", "--geometry", "squash", "--num-references", "2"], "no pictures, but MuSc"),
        (["--method", "AnoCLIP", "--num-references", "2"], "AnoCLIP scores each image by itself"),
        (["--alpha", "1", "--num-references", "2"], "references count for nothing. Set --num-references 0"),
        (["--spatial-window", "0.1", "--num-references", "0"], "--spatial-window goes with references"),
        (["--tile", "9"], "--tile goes with --geometry tiles"),
    ],
)
def test_calibrate_refuses_what_it_cannot_do_before_it_writes(make, capsys, options, part):
    assert part in wrong(capsys, make, *options)
    assert not Path("plate.dualclip").exists()


def test_an_unusable_image_is_named(make, capsys):
    Path("good/bad.png").write_bytes(b"no image")
    assert "Cannot use" in (message := wrong(capsys, make))
    assert "good/bad.png" in message
    assert make("--exclude", "bad.png") == 0


@pytest.mark.parametrize(("options", "method"), [([], "DualImageCLIP"), (["--method", "AnoCLIP"], "AnoCLIP")])
def test_text_alone_uses_every_image_for_the_threshold(make, options, method):
    more = [] if options else ["--num-references", "0"]
    fast = ["--set", "views=false", "--set", "steps=0"] if options else []
    assert make(*options, *more, *fast) == 0
    bundle = read_bundle("plate.dualclip")
    assert (bundle.settings["method"], bundle.references, bundle.threshold["images"]) == (method, (), GOOD)
    assert score() == 0
    assert {row["references"] for row in rows()} == {"0"}


def test_the_draw_depends_on_names_and_seed_and_not_on_the_order():
    paths = [Path(f"good/{i}.png") for i in range(30)]
    first = split(paths, 4, seed=0)
    assert {*first.references, *first.measured} == set(paths)
    assert len(first.references) == 4
    assert len(first.measured) == 26
    assert set(split(paths[::-1], 4, seed=0).references) == set(first.references)
    assert len({frozenset(split(paths, 4, seed).references) for seed in range(20)}) > 15

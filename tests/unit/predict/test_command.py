from __future__ import annotations

import csv
import json
import re
import signal
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.predict import Detector, Threshold, command
from dualclip_lightning.predict.options import main, parse
from dualclip_lightning.predict.output.pictures import drawing
from dualclip_lightning.predict.output.progress import ProgressReporter
from dualclip_lightning.predict.run import Run
from tests.hostile_images import picture
from tests.towers import write_image


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_folder):
    """Function that runs the command next to nine images in `shots` and returns its exit status."""
    monkeypatch.chdir(tmp_path)
    for i in range(9):
        write_image(tmp_path / "shots" / f"{i}.png", seed=i)

    def run(*arguments: str) -> int:
        return main(["--pretrained", str(tiny_folder), "--device", "cpu", "--out", "out", *arguments])

    run.folder = tmp_path
    return run


def scores(place, out: str = "out") -> list[dict[str, str]]:
    with (place.folder / out / "scores.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def test_defaults_are_those_of_the_detector(make_detector, place):
    assert place("shots", "--class-name", "plate") == command.DONE
    settings = json.loads((place.folder / "out" / "run.json").read_text())["settings"]
    assert settings == json.loads(json.dumps(make_detector().settings))


@pytest.mark.slow
def test_heatmaps_of_an_earlier_run_inside_the_images_are_not_scored(place, capsys):
    assert place("shots", "--out", "shots/first") == command.DONE
    capsys.readouterr()
    before = scores(place, "shots/first")
    assert len(list((place.folder / "shots" / "first" / "heatmaps").iterdir())) == 9
    for arguments in (("--out", "shots/first"), ("--out", "shots/second"), ("--out", "shots/third", "--fresh")):
        assert place("shots", *arguments) == command.DONE
        assert "Left out as results of earlier runs: 'shots/first'" in capsys.readouterr().out
        found = scores(place, arguments[1])
        for column in ("path", "score", "decision", "threshold"):
            assert [row[column] for row in found] == [row[column] for row in before]


@pytest.mark.slow
def test_every_option_reaches_the_detector(place, capsys):
    arguments = (
        "shots --domain texture --temperature 0.2 --alpha 0.3 --class-weight 0.7 --seed 5 --tta --geometry tiles "
        "--tile 60 --overlap 0.5 --image-size 32 48 --spatial-window 0.5 --num-references 2 --batch-size 3"
    )
    assert place(*arguments.split(), "--class-name", "steel plate") == command.DONE
    settings = json.loads((place.folder / "out" / "run.json").read_text())["settings"]
    assert settings["preprocessing"]["size"] == [32, 48]
    assert settings["geometry"] == {"mode": "tiles", "tile": 60, "overlap": 0.5}
    assert settings["tta"]["steps"] > 0
    expected = {"class_name": "steel plate", "temperature": 0.2, "alpha": 0.3, "class_weight": 0.7, "seed": 5,
                "spatial_window": 0.5, "num_references": 2, "references": "pairs"}  # fmt: skip
    assert settings.items() >= expected.items()
    assert settings["prompts"]["domain"] == "texture"
    assert all((row["references"], row["reference"]) == ("2", "") for row in scores(place))
    assert "9 images: 9 scored" in capsys.readouterr().out


def test_the_status_is_0_if_all_images_are_scored_and_1_if_some_are_unusable(place, capsys):
    assert place("shots") == 0
    (place.folder / "shots" / "bad.png").write_bytes(b"")
    assert place("shots") == 1
    said = capsys.readouterr().out
    assert "10 images: 9 scored (9 of them before), 1 could not be used." in said
    assert "not used: shots/bad.png: the file is empty (0 bytes)." in said
    assert (place.folder / "out2" / "failures.csv").is_file()
    (place.folder / "shots" / "bad.png").unlink()
    assert place("shots") == 0
    assert not (place.folder / "out" / "failures.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "There is no 'nowhere'"),
        (["shots", "--alpha", "2"], "alpha to be in [0, 1]"),
        (["shots", "--geometry", "tiles", "--overlap", "0.9"], "overlap to be in [0, 0.75]"),
        (["shots", "--scale", "1", "0"], "the smaller first"),
        (["shots", "--scale", "0", "half"], "two numbers, 'run' or 'image'"),
        (["shots", "--scale", "0", "1", "2"], "two numbers, 'run' or 'image'"),
        (["shots", "--threshold", "nan"], "threshold to be in [0, 1)"),
        (["shots", "--threshold", "1.37"], "threshold to be in [0, 1), because scores lie in [0, 1], but got 1.37"),
        (["shots", "--threshold", "missing.json"], "Cannot read a threshold from 'missing.json'"),
        (["shots", "--good", "nowhere"], "There is no 'nowhere'"),
        (["shots", "--reference-dir", "nowhere"], "There is no 'nowhere'"),
        (["shots", "--good", "shots/0.png"], "at least two good images"),
        (["~nobody_of_that_name/x"], "There is no '~nobody_of_that_name/x'"),
        (["shots", "--device", "meta"], "cannot be used here"),
        (["shots", "--image-size", "50"], "multiple"),
        (["shots", "--device", "toaster"], "cannot be used here"),
        (["shots", "--exclude", "*"], "No image in 'shots'"),
        (["shots", "--masks", "--threshold", "none"], "--masks"),
        (["shots", "--coco", "--threshold", "none"], "--coco needs a threshold. Give a number"),
    ],
)
def test_wrong_use_has_status_2_and_a_sentence_that_names_it(place, capsys, arguments, message):
    assert place(*arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.splitlines()[-1].startswith("dualclip: ")
    assert not (place.folder / "out").exists()


UNKNOWN = [[], ["shots", "--colour"], ["shots", "--seed", "x"], ["shots", "--geo", "keep"]]


CONTRADICTORY = [
    ["--image-size", "8", "8", "8"], ["--good", "a", "--threshold", "0.9"], ["--pixel-threshold", "0.3"],
    ["--threshold", "0.5", "--false-alarm-rate", "0.2"], ["--tile", "100"], ["--gallery", "-3"],
    ["--good", "shots", "--false-alarm-rate", "1.5"], ["--false-alarm-rate", "0"],
    ["--reference-dir", "a", "--compare-with", "stream"], ["--reference-dir", "a", "--compare-with", "pairs"],
    ["--overlap", "0.5"], ["--bank-size", "9"], ["--compare-with", "stream", "--num-references", "3"],
    ["--reference-dir", "a", "--num-references", "3"], ["--alpha", "1", "--reference-dir", "a"],
    ["--alpha", "1", "--compare-with", "stream"], ["--alpha", "1", "--spatial-window", "0.1"],
    ["--compare-with", "none", "--spatial-window", "0.1"], ["--no-heatmaps", "--scale", "image"],
    ["--min-area", "-1"], ["--no-heatmaps", "--heatmap-format", "png"], ["--heatmap-format", "webp"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", [*UNKNOWN, *(["shots", *options] for options in CONTRADICTORY)])
def test_unknown_options_have_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(arguments)
    assert stop.value.code == 2
    assert "See `dualclip predict --help`" in capsys.readouterr().err


def test_a_broken_good_image_has_status_2_and_is_named(place, capsys):
    write_image(place.folder / "good" / "b.png", seed=1)
    (place.folder / "good" / "a.png").write_bytes(b"no image")
    assert place("shots", "--good", "good") == 2
    assert "Cannot use 'good/a.png' of --good: it is no image" in capsys.readouterr().err


def test_good_images_set_the_threshold_which_another_run_can_load(place, capsys):
    assert place("shots", "--good", "shots", "--false-alarm-rate", "0.2", "--masks", "--no-heatmaps") == 0
    threshold = Threshold.load(place.folder / "out" / "threshold.json")
    values = sorted(float(row["score"]) for row in scores(place))
    assert threshold.score == pytest.approx(values[7], abs=1e-6)
    assert (threshold.kind, threshold.images) == ("good", 9)
    assert [row["decision"] for row in scores(place)].count("anomalous") == 1
    assert len(list((place.folder / "out" / "masks").rglob("*.png"))) == 9
    assert "9 scored (9 of them before)" not in capsys.readouterr().out
    (place.folder / "out" / "threshold.json").rename(place.folder / "t.json")
    assert place("shots", "--threshold", "t.json") == 0
    assert "9 scored (9 of them before)" in capsys.readouterr().out
    assert place("shots", "--threshold", "t.json", "--seed", "1", "--fresh") == 2
    assert "other settings: seed (0, now 1)" in capsys.readouterr().err


def test_the_unlabelled_run_gives_a_threshold_if_it_is_large_enough(place, capsys):
    assert place("shots", "--false-alarm-rate", "0.25") == 0
    assert Threshold.load(place.folder / "out" / "threshold.json").kind == "run"
    assert "Of 9 scored images: 2 anomalous, 7 normal." in capsys.readouterr().out
    assert sorted(float(row["p_value"]) for row in scores(place)) == pytest.approx(np.arange(1, 10) / 9, abs=1e-6)
    assert {row["decision"] for row in scores(place) if float(row["p_value"]) <= 2 / 9} == {"anomalous"}
    assert place("shots", "--out", "few") == 0
    said = capsys.readouterr()
    assert "No usable threshold: a rate of 5.0% needs 20 unlabelled images, but there are 9. Give images" in said.err
    assert "anomalous" not in said.out


@pytest.mark.parametrize("option", [("--from", "out"), ("--threshold", "out/threshold.json")])
def test_the_threshold_of_a_run_states_more_false_alarms_for_later_images(place, capsys, option):
    assert place("shots", "--false-alarm-rate", "0.25") == 0
    assert "expected false alarms: at most 22.2%" in capsys.readouterr().out  # 2 of 9
    assert place("shots", *option, "--out", "later") == 0
    assert "expected false alarms: at most 30.0%" in capsys.readouterr().out  # 3 of 10
    assert Threshold.load(place.folder / "later" / "threshold.json").kind == "earlier run"


def test_an_image_without_a_partner_is_not_decided_by_a_threshold_of_pairs(place, capsys):
    assert place("shots", "--good", "shots") == 0
    (place.folder / "out" / "threshold.json").rename(place.folder / "t.json")
    capsys.readouterr()
    assert place("shots/0.png", "--threshold", "t.json") == 0
    (row,) = scores(place, "out2")
    assert (row["decision"], row["p_value"]) == ("", "")
    assert "no decision: the image was compared with no other" in row["notes"]
    said = capsys.readouterr().out
    assert f"Of 1 scored image: 0 anomalous, 0 normal, 1 without a decision.\n  {row['notes']}\n" in said


def test_marks_are_in_anomalous_images_and_in_no_other(place):
    assert place("shots", "--good", "shots", "--false-alarm-rate", "0.4", "--masks", "--no-heatmaps") == 0
    decisions = {row["path"]: row["decision"] for row in scores(place)}
    assert set(decisions.values()) == {"anomalous", "normal"}
    for path, decision in decisions.items():
        mask = np.asarray(Image.open(place.folder / "out" / "masks" / f"{Path(path).stem}.png"))
        assert mask.any() == (decision == "anomalous")


def test_tiles_are_counted_before_they_are_encoded(place, capsys):
    assert place("shots", "--geometry", "tiles", "--tile", "24", "--overlap", "0") == 0
    tiles = [int(re.search(r"(\d+) tiles", row["geometry"]).group(1)) for row in scores(place)]
    said = capsys.readouterr().err
    assert re.search(
        rf"{sum(tiles)} tiles in 9 images \(up to {max(tiles)} in one\); .* takes about \d+ s on cpu", said
    )
    assert place("shots", "--fresh") == 0
    assert " tiles " not in capsys.readouterr().err


def test_without_pictures_nothing_is_drawn_and_drawing_is_not_mentioned(place, capsys):
    assert place("shots", "--threshold", "0.5") == 0
    assert "drawing: 9 to do" in capsys.readouterr().err
    assert place("shots", "--no-heatmaps", "--threshold", "0.5") == 0
    assert "drawing" not in capsys.readouterr().err
    assert place("shots", "--no-heatmaps", "--threshold", "0.5", "--masks") == 0
    assert "drawing: 9 to do" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--references", "--compare-with"])
def test_an_unknown_kind_of_references_is_refused_with_the_option_for_images(option, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["shots", option, "good"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "dualclip: Argument --compare-with: expected pairs, stream or none, but got 'good'; images to compare with are "
        "given by --reference-dir. See `dualclip predict --help`."
    )


@pytest.mark.parametrize(
    "arguments", [["--references", "stream"], ["--references=stream"], ["--compare-with", "stream"]]
)
def test_old_names_of_options_still_work(arguments):
    assert parse(["shots", *arguments]).references == "stream"
    assert parse(["shots", "--reference=good"]).reference == "good"


def test_a_fixed_threshold_decides_as_stated(place):
    assert place("shots", "--threshold", "0.5", "--pixel-threshold", "0.6", "--masks") == 0
    assert all((float(row["score"]) > 0.5) == (row["decision"] == "anomalous") for row in scores(place))
    assert {row["threshold"] for row in scores(place)} == {"0.500000"}
    assert (place.folder / "out" / "masks" / "0.png").is_file()


def test_the_same_command_again_scores_nothing_and_other_settings_get_another_folder(place, capsys, monkeypatch):
    assert place("shots") == 0
    before = files(place, "out")
    monkeypatch.setattr("dualclip_lightning.predict.scoring.scorer.DualImageScorer.score", None)
    assert place("shots") == 0
    assert files(place, "out").items() >= {k: v for k, v in before.items() if "run.json" not in k}.items()
    assert place("shots", "--threshold", "0.5") == 0  # a new run that reuses the scores
    assert scores(place, "out2")[0]["threshold"] == "0.500000"
    monkeypatch.undo()
    monkeypatch.chdir(place.folder)
    capsys.readouterr()
    assert place("shots", "--seed", "1") == 0
    said = capsys.readouterr()
    assert "Results go to 'out3'." in said.err
    assert "9 scored, 0 could" in said.out
    assert files(place, "out").keys() == before.keys()


def files(place, out: str) -> dict[str, bytes]:
    """Return the files of a run, except those from which a later run continues."""
    root = place.folder / out
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and ".work" not in p.parts}


def test_a_record_states_date_command_and_input(place):
    assert place("shots", "--threshold", "none") == 0
    record = json.loads((place.folder / "out" / "run.json").read_text())
    assert record["date"] <= record["finished"]
    assert datetime.fromisoformat(record["date"]).tzinfo is not None
    assert record["command"].startswith("dualclip predict --pretrained ")
    assert record["command"].endswith(" --out out shots --threshold none")
    assert (record["input"], record["directory"]) == (["shots"], str(place.folder))


def test_fresh_scores_again_into_another_folder(place, capsys):
    assert place("shots", "--threshold", "none") == 0
    assert place("shots", "--threshold", "none", "--fresh") == 0
    assert "9 scored, 0 could not be used" in capsys.readouterr().out
    assert files(place, "out")["heatmaps/0.jpg"] == files(place, "out2")["heatmaps/0.jpg"]


def test_heatmaps_have_the_requested_format_and_runs_of_earlier_versions_have_png(place):
    assert place("shots", "--threshold", "none", "--heatmap-format", "png") == 0
    before = files(place, "out")
    assert {name for name in before if "heatmaps" in name} == {f"heatmaps/{i}.png" for i in range(9)}
    record = json.loads((place.folder / "out" / "run.json").read_text())
    assert "heatmap_format" not in record["options"]  # as in earlier versions
    assert place("shots", "--threshold", "none", "--heatmap-format", "png") == 0
    assert place("shots", "--threshold", "none") == 0
    assert files(place, "out")["heatmaps/0.png"] == before["heatmaps/0.png"]
    assert {name for name in files(place, "out2") if "heatmaps" in name} == {f"heatmaps/{i}.jpg" for i in range(9)}
    assert not (place.folder / "out3").exists()


@pytest.mark.parametrize("threshold", ["0.5", "none"])
def test_images_are_drawn_while_others_are_scored_if_scale_and_threshold_are_given(place, monkeypatch, threshold):
    """The last score is held back until a heatmap is written."""
    written, score, write = threading.Event(), Detector.score, drawing.write_bytes_atomically

    def write_and_tell(path, content):
        write(path, content)
        written.set()

    def hold_back_last(*arguments, **more):
        for number, outcome in enumerate(score(*arguments, **more), start=1):
            assert number < 9 or written.wait(60)
            yield outcome

    monkeypatch.setattr(drawing, "write_bytes_atomically", write_and_tell)
    monkeypatch.setattr(Detector, "score", hold_back_last)
    assert place("shots", "--threshold", threshold, "--scale", "0", "1") == 0
    monkeypatch.undo()
    monkeypatch.chdir(place.folder)
    assert place("shots", "--threshold", threshold, "--scale", "0", "1", "--fresh") == 0
    first, second = (files(place, out) for out in ("out", "out2"))
    assert len([name for name in first if name.startswith("heatmaps/")]) == 9
    assert all(first[name] == second[name] for name in first if name.startswith("heatmaps/"))


def test_an_image_that_goes_after_it_was_scored_keeps_its_score_and_is_listed_once(place, monkeypatch):
    score, gone = Detector.score, place.folder / "shots" / "3.png"

    def remove_one(*arguments, **more):
        for position, outcome in score(*arguments, **more):
            if outcome.name == "shots/3.png":
                gone.unlink()
            yield position, outcome

    monkeypatch.setattr(Detector, "score", remove_one)
    assert place("shots", "--threshold", "0.5", "--scale", "0", "1", "--compare-with", "none") == 1
    assert len(scores(place)) == 9
    with (place.folder / "out" / "failures.csv").open(newline="") as table:
        (failure,) = csv.DictReader(table)
    assert failure["path"] == "shots/3.png"
    assert failure["reason"].startswith("it was scored, but could not be drawn: there is no such file")


FORMER = (
    "--class-name steel --alpha 0.3 --geometry tiles --tile 60 --overlap 0.5 --compare-with stream --bank-size 2 "
    "--drawing musc"
)


@pytest.mark.parametrize("source", ["out", "out/threshold.json"])
def test_a_former_run_gives_its_settings_and_its_threshold(place, source):
    assert place("shots", *FORMER.split(), "--false-alarm-rate", "0.1") == 0
    write_image(place.folder / "later" / "0.png", seed=20)
    assert main(["later", "--from", source, "--out", "next", "--device", "cpu"]) == 0
    first, second = (json.loads((place.folder / name / "run.json").read_text()) for name in ("out", "next"))
    assert first["settings"] == second["settings"]
    assert first["threshold"] == second["threshold"]
    assert main(["later", "--from", source, "--out", "other", "--device", "cpu", "--threshold", "0.5"]) == 0
    assert scores(place, "other")[0]["threshold"] == "0.500000"


def test_a_threshold_file_of_a_detector_gives_its_settings(place, make_detector, tiny_folder):
    detector = make_detector(compare_with="stream", bank_size=2, alpha=0.3, geometry="keep", drawing="musc")
    detector.calibrate("shots").save("mine.json")
    assert main(["shots", "--from", "mine.json", "--out", "next", "--device", "cpu"]) == 0
    record = json.loads((place.folder / "next" / "run.json").read_text())
    assert record["settings"] == json.loads(json.dumps(detector.settings))
    assert record["threshold"]["kind"] == "good"


def test_references_and_weights_of_a_former_run_are_found_from_elsewhere(place, monkeypatch):
    write_image(place.folder / "good" / "0.png", seed=20)
    assert place("shots", "--reference-dir", "good", "--threshold", "none") == 0
    (place.folder / "else").mkdir()
    monkeypatch.chdir(place.folder / "else")
    options = parse(["x.png", "--from", "../out"])
    assert options.reference == str(place.folder / "good")
    assert parse(["x.png", "--from", "../out", "--reference-dir", "mine"]).reference == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is none at 'x.json'"), ("{}", "there is none at"), ('{"settings": {}}', "does not say with which")],
)
def test_a_folder_that_is_not_a_former_run_is_reported(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "x.json").write_text(content)
    with pytest.raises(SystemExit):
        parse(["shots", "--from", "x.json"])
    assert message in capsys.readouterr().err


def test_good_images_may_be_a_list(place):
    (place.folder / "good.txt").write_text(f"# marked good\nshots/1.png\nshots/2.png\n{place.folder}/shots/3.png\n")
    assert place("shots", "--good", "good.txt") == 0
    assert Threshold.load(place.folder / "out" / "threshold.json").images == 3
    (place.folder / "good.txt").write_text("shots/1.png\nshots/2.png\n")
    assert place("shots", "--good", "good.txt") == 0
    assert Threshold.load(place.folder / "out" / "threshold.json").images == 3
    assert Threshold.load(place.folder / "out2" / "threshold.json").images == 2


def test_results_among_the_images_are_not_judged(place):
    assert place(".") == 0
    assert place("./**/*.png") == 0
    assert place(".") == 0
    assert len(scores(place)) == 9


def test_good_images_are_no_references_of_a_stream(place):
    assert place("shots", "--compare-with", "stream", "--good", "shots") == 0
    assert [(row["references"], row["reference"]) for row in scores(place)[:3]] == [
        ("0", ""), ("1", "shots/0.png"), ("2", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "Stopped. What was done is kept in 'out'"),
        (OSError(28, "No space left on device"), 3, "Cannot write 'out' (No space left on device)"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 3, "Lower --batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 3, "Lower --batch-size"),
        (MemoryError(), 3, "Lower --batch-size"),
    ],
)
def test_an_error_that_stops_a_run_is_reported_and_has_its_status(place, capsys, monkeypatch, error, status, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Run, "__call__", fail)
    assert place("shots") == status
    assert message in capsys.readouterr().err


def test_an_internal_error_is_not_hidden(place, monkeypatch):
    def fail(*_, **__):
        msg = "shapes do not match"
        raise RuntimeError(msg)

    monkeypatch.setattr(Run, "__call__", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        place("shots")


def test_an_interrupt_or_sigterm_keeps_the_scores_so_far(place, capsys, monkeypatch):
    real, seen = ProgressReporter.advance, []

    def advance(bar):
        real(bar)
        seen.append(bar)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(ProgressReporter, "advance", advance)
    before = signal.getsignal(signal.SIGTERM)
    assert place("shots", "--batch-size", "2") == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert len(scores(place)) == 3
    monkeypatch.undo()
    monkeypatch.chdir(place.folder)
    assert place("shots", "--batch-size", "2") == 0
    assert "(3 of them before)" in capsys.readouterr().out
    assert len(scores(place)) == 9


def test_the_output_folder_cannot_be_a_file(place, capsys):
    (place.folder / "out").write_text("mine")
    assert place("shots") == 2
    assert "Expected --out to be a folder" in capsys.readouterr().err
    assert (place.folder / "out").read_text() == "mine"


def test_it_runs_in_a_thread_too(place):
    found = []
    worker = threading.Thread(target=lambda: found.append(place("shots")))
    worker.start()
    worker.join()
    assert found == [0]


def test_larger_images_than_allowed_are_listed_until_allowed(place):
    picture().resize((400, 300)).save(place.folder / "shots" / "large.png")
    assert place("shots", "--max-megapixels", "0.1") == 1
    assert place("shots", "--max-megapixels", "0.2") == 0


def test_no_run_changes_the_pictures_of_another(place):
    for folder, seeds in (("a", (0, 1)), ("b", (7, 8))):
        for number, seed in enumerate(seeds):
            write_image(place.folder / folder / f"{number}.png", seed=seed)
    assert place("a", "--threshold", "none") == 0
    first = files(place, "out")
    assert place("b", "--threshold", "none") == 0
    assert place("a", "--threshold", "none", "--no-heatmaps") == 0
    assert files(place, "out") == first
    assert files(place, "out2")["heatmaps/0.jpg"] != first["heatmaps/0.jpg"]
    assert not (place.folder / "out3" / "heatmaps").exists()


def test_a_removed_or_changed_image_starts_another_run(place):
    assert place("shots", "--threshold", "none") == 0
    first = files(place, "out")
    write_image(place.folder / "shots" / "8.png", seed=99)
    assert place("shots", "--threshold", "none") == 0
    (place.folder / "shots" / "8.png").unlink()
    assert place("shots", "--threshold", "none") == 0
    assert [len(scores(place, out)) for out in ("out", "out2", "out3")] == [9, 9, 8]
    assert files(place, "out") == first
    assert files(place, "out2")["heatmaps/8.jpg"] != first["heatmaps/8.jpg"]


def test_a_changed_partner_changes_the_score_and_the_others_are_reused(place, capsys):
    assert place("shots", "--threshold", "none") == 0
    before = {row["path"]: (row["reference"], row["score"]) for row in scores(place)}
    partner = before["shots/0.png"][0]
    write_image(place.folder / partner, seed=99)
    assert place("shots", "--threshold", "none") == 0
    after = {row["path"]: (row["reference"], row["score"]) for row in scores(place, "out2")}
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {path for path in before if partner in (path, before[path][0])}
    assert f"({9 - len(changed)} of them before)" in capsys.readouterr().out

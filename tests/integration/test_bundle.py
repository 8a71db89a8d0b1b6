"""From a folder of good images to a bundle and its decisions, with the circuit boards of the demo."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from dualclip_lightning.cli import main
from dualclip_lightning.demo.data.assets import ASSETS
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.bundle.file import read_bundle
from tests.ended import Ended
from tests.interpreters import run_prepared
from tests.towers import TINY_CLIP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def boards(tmp_path_factory):
    """Folder with boards believed good in `good`, and others, good and defective, in `shots`."""
    folder = tmp_path_factory.mktemp("boards")
    for name in ("good", "shots"):
        (folder / name).mkdir()
    for path in sorted((ASSETS / "pcb").glob("*.png")):
        kind = path.stem.rpartition("_")[2]
        shutil.copy(path, folder / ("good" if kind in {"template", "train"} else "shots"))
    return folder


@pytest.fixture(scope="module")
def bundle(boards):
    """Bundle from the good boards, made by the installed command."""
    path = boards / "board.dualclip"
    model = ("--pretrained", TINY_CLIP, "--class-name", "board", "--device", "cpu")
    numbers = ("--num-references", 3, "--false-alarm-rate", 0.5)
    done = installed(boards, "calibrate", "good", "--out", path.name, *model, *numbers)
    assert done.status == 0, done.err
    assert "expected false alarms" in done.out
    return path


def installed(folder: Path, *arguments: object) -> Ended:
    """Run the installed command in a folder, as in a new interpreter."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
                   "HF_HUB_OFFLINE": "1", "DUALCLIP_CACHE": os.environ["DUALCLIP_CACHE"],
                   "PYTHONPATH": os.environ.get("PYTHONPATH", "")}  # fmt: skip
    ended = run_prepared(["dualclip", *map(str, arguments)], folder, environment)
    assert "Traceback" not in ended.err
    return ended


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as table:
        return {Path(row["path"]).name: row for row in csv.DictReader(table)}


def predict(boards: Path, out: str, *more: str) -> dict[str, dict[str, str]]:
    place = ["--device", "cpu", "--out", str(boards / out), "--no-heatmaps"]
    assert main(["predict", str(boards / "shots"), *place, *more]) == 0
    return rows(boards / out)


def test_a_bundle_of_another_process_scores_as_the_same_options_without_it(boards, bundle, monkeypatch):
    monkeypatch.chdir(boards)
    names = read_bundle(bundle).references
    (boards / "references").mkdir()
    for name in names:
        shutil.copy(boards / name, boards / "references")
    with_bundle = predict(boards, "with", "--bundle", str(bundle))
    without = predict(boards, "without", "--reference-dir", str(boards / "references"), "--pretrained", str(TINY_CLIP),
                      "--class-name", "board", "--threshold", "0.5")  # fmt: skip
    assert len(with_bundle) > 20
    assert {name: row["score"] for name, row in with_bundle.items()} == {n: row["score"] for n, row in without.items()}
    assert {row["references"] for row in with_bundle.values()} == {"3"}


def test_images_above_the_threshold_of_the_good_ones_are_anomalous(boards, bundle):
    threshold = read_bundle(bundle).threshold
    good = len(list((boards / "good").iterdir()))
    assert threshold["images"] == good - 3
    found = predict(boards, "decided", "--bundle", str(bundle))
    assert {row["decision"] for row in found.values()} == {"anomalous", "normal"}
    for row in found.values():
        assert row["decision"] == ("anomalous" if float(row["score"]) > threshold["score"] else "normal")
        above = sum(score >= float(row["score"]) for score in threshold["scores"])
        assert float(row["p_value"]) == pytest.approx((1 + above) / (threshold["images"] + 1), abs=1e-6)


def test_several_processes_load_the_bundle_themselves(boards, bundle, forks):
    together = predict(boards, "one", "--bundle", str(bundle))
    apart = predict(boards, "two", "--bundle", str(bundle), "--devices", "2")
    for name, row in together.items():
        assert float(apart[name]["score"]) == pytest.approx(float(row["score"]), abs=1e-6)
        assert apart[name]["decision"] == row["decision"]


def test_python_loads_what_the_command_made(boards, bundle):
    detector = Detector.load(bundle, device="cpu")
    image = next(iter(sorted((boards / "shots").iterdir())))
    found = detector.predict(image)
    assert found.decision in {"normal", "anomalous"}
    assert len(found.references) == 3

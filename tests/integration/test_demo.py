"""`dualclip demo`, run on one of its categories."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal

import pandas as pd
import pytest
from anomalib.engine import Engine
from PIL import Image

from dualclip_lightning.benchmark import load_run
from dualclip_lightning.benchmark.run import execute
from dualclip_lightning.cli import main
from dualclip_lightning.data import Demo
from dualclip_lightning.demo.data import datamodule, samples
from dualclip_lightning.models import DualImageCLIP

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _small_demo(tmp_path_factory):
    """Draw only the category of these tests, and fewer images of it, in a cache folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALCLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(datamodule, "CATEGORIES", ("granite",))
        patch.setattr(samples, "GOOD_IMAGES", 6)
        patch.setattr(samples, "IMAGES_A_DEFECT", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the results of the command."""
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--categories", "granite", "--seeds", "2", "--out", str(out)]) == 0
    return out


def test_every_variant_has_one_row_per_seed_and_the_text_score_a_single_row(folder):
    frame = pd.read_csv(folder / "results.csv")
    assert frame.groupby("variant").size().to_dict() == {"text only": 1, "reference only": 2, "joint": 2}
    assert dict(zip(frame["variant"], frame["kind"], strict=True)) == {
        "text only": "inductive", "reference only": "pair", "joint": "pair",
    }  # fmt: skip
    assert ((frame[["image_AUROC", "pixel_AUROC", "pixel_PRO"]] > 0.5).to_numpy()).all()


def test_the_figures_equal_those_of_a_separate_run_of_the_method(folder, tmp_path):
    frame = pd.read_csv(folder / "results.csv").set_index(["variant", "seed"])
    engine = Engine(default_root_dir=tmp_path, logger=False, accelerator="cpu", enable_progress_bar=False)
    model = DualImageCLIP(pretrained="demo", seed=1, visualizer=False)
    (alone,) = engine.test(model=model, datamodule=Demo(category="granite"), verbose=False)
    assert frame.loc[("joint", 1), "pixel_AUROC"] == pytest.approx(alone["pixel_AUROC"], abs=1e-6)
    summary = pd.read_csv(folder / "summary.csv", header=[0, 1], index_col=0)
    assert summary.loc["granite", ("joint", "pixel_AUROC")] == pytest.approx(frame.loc["joint", "pixel_AUROC"].mean())


def test_the_demo_shares_the_runs_of_the_benchmark_and_does_not_repeat_them(folder, capsys):
    run = load_run(folder / "runs")
    assert sorted(run.frame["method"].unique()) == ["joint", "reference only", "text only"]
    assert main(["demo", "--categories", "granite", "--seeds", "2", "--out", str(folder)]) == 0
    assert "5 of 5 cells are finished already." in capsys.readouterr().out
    assert pd.read_csv(folder / "runs" / "results.csv")["started"].tolist() == run.frame["started"].tolist()


def test_a_run_that_fails_is_reported_and_sets_the_exit_status(tmp_path, capsys, monkeypatch):
    def fail(*_):
        message = "no memory"
        raise RuntimeError(message)

    monkeypatch.setattr(execute, "_score", fail)
    assert main(["demo", "--categories", "granite", "--seeds", "1", "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert "dualclip: granite, joint, seed 0 failed: RuntimeError: no memory" in errors
    assert not (tmp_path / "heatmaps.png").exists()


def test_the_demo_writes_a_figure_and_its_provenance(folder):
    with Image.open(folder / "heatmaps.png") as picture:
        assert min(picture.size) > 100
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
    records = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert len(records) == 5
    joint = records["granite, joint, seed 1"]
    assert (joint["weights"], joint["class_name"], joint["parameters"]["seed"]) == ("demo", "granite", 1)
    assert records["granite, text only, seed 0"]["parameters"]["alpha"] == 1


def _generate_and_die(root):
    write, left = datamodule._write, [3]

    def write_some(*arguments):
        write(*arguments)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    datamodule._write = write_some
    datamodule.generate_demo(root)


def test_a_killed_generation_leaves_no_folder_under_the_final_name_and_the_next_one_completes(monkeypatch, tmp_path):
    monkeypatch.setattr(datamodule, "CATEGORIES", ("cork",))
    monkeypatch.setattr(samples, "GOOD_IMAGES", 2)
    process = multiprocessing.get_context("fork").Process(target=_generate_and_die, args=(tmp_path / "data",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(tmp_path.rglob("*.png"))
    assert not (tmp_path / "data").exists()
    assert (datamodule.generate_demo(tmp_path / "data") / "cork" / "test" / "good").is_dir()

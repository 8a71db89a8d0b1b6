"""The commands of the README, run on a small data set in MVTec AD's layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tests.commands import METRICS, TRAINED, Workplace, metrics_of, printed, refusal
from tests.towers import TINY_CLIP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workplace")
    category = folder / "datasets" / "MVTecAD" / "bottle"
    rng = np.random.default_rng(0)
    for name in ["train/good/000", "test/good/000", "test/good/001", "test/good/002"]:
        save(category / f"{name}.png", noise(rng))
    defect = np.zeros((64, 80), np.uint8)
    defect[20:44, 30:54] = 255
    for number in range(3):
        image = np.where(defect[..., None], 0, noise(rng))
        save(category / f"test/broken/{number:03}.png", image.astype(np.uint8))
        save(category / f"ground_truth/broken/{number:03}_mask.png", defect)
    return Workplace(folder)


@pytest.fixture(scope="module")
def metrics(workplace):
    command = "anomalib test --model DualImageCLIP --data MVTec"
    return metrics_of(workplace.start_new(*command.split(), *TRAINED))


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(100, 156, size=(64, 80, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_anomalib_test_prints_every_metric_and_draws_every_image(metrics, workplace):
    assert set(metrics) == METRICS
    assert all(0 <= value <= 1 for value in metrics.values())
    results = workplace.folder / "results" / "DualImageCLIP" / "MVTecAD" / "bottle"
    drawn = sorted(f"{path.parent.name}/{path.stem}" for path in results.rglob("*.png"))
    assert drawn == [f"{kind}/{number:03}" for kind in ("broken", "good") for number in range(3)]


def test_dualclip_test_gives_the_same_without_the_plugin_and_from_the_configuration_file(metrics, workplace):
    config = Path(__file__).parents[2] / "configs" / "model" / "dual_image_clip.yaml"
    command = f"dualclip test --config {config} --data MVTec --model.visualizer false"
    ended = workplace.start_prepared(*command.split(), *TRAINED, "--data.num_workers", "0", DUALCLIP_NO_PLUGIN="1")
    assert metrics_of(ended) == pytest.approx(metrics, abs=1e-5)


def test_anomalib_predict_draws_the_images_of_a_folder_and_names_what_it_cannot_read(workplace):
    shots = workplace.folder / "shots"
    rng = np.random.default_rng(1)
    for number in range(3):
        save(shots / f"{number}.png", noise(rng))
    (shots / "damaged.png").write_bytes(b"no image")
    command = "anomalib predict --model DualImageCLIP --data shots --model.pretrained demo"
    output = printed(workplace.start(*command.split()))
    assert "damaged.png" in output
    drawn = {path.name for path in (workplace.folder / "results").rglob("images/shots/*.png")}
    assert drawn == {"0.png", "1.png", "2.png"}


def test_anomalib_benchmark_writes_a_row_for_every_cell_of_the_grid(workplace):
    (workplace.folder / "benchmark.yaml").write_text(f"""
accelerator: [cpu]
benchmark:
  seed: 42
  model:
    class_path: DualImageCLIP
    init_args: {{pretrained: '{TINY_CLIP}', visualizer: false, alpha: {{grid: [0.5, 1.0]}}}}
  data:
    class_path: MVTec
    init_args: {{category: bottle, num_workers: 0}}
""")
    printed(workplace.start("anomalib", "benchmark", "--config", "benchmark.yaml"))
    (results,) = (workplace.folder / "runs" / "benchmark").glob("*/results.csv")
    table = pd.read_csv(results)
    assert table["model.init_args.alpha"].tolist() == [0.5, 1.0]
    assert table[sorted(METRICS)].notna().all(axis=None)


def test_patchcore_of_anomalib_is_trained_and_evaluated_like_the_methods_of_this_package(workplace):
    config = Path(__file__).parents[2] / "configs" / "model" / "patchcore.yaml"
    small = "--model.pre_trained false --model.backbone resnet18 --data MVTec --data.num_workers 0"
    ended = workplace.start("anomalib", "train", "--config", str(config), *small.split())
    assert set(metrics_of(ended)) == METRICS


def test_a_trained_clip_ad_is_tested_on_other_data_from_its_checkpoint(workplace):
    root = workplace.folder / "datasets" / "MVTecAD"
    shutil.copytree(root / "bottle", root / "cable")
    method = "--model ClipAD --model.variant sdp+ --model.visualizer false --model.epochs 1"
    data = "--data MVTec --data.num_workers 0 --data.category"
    printed(workplace.start("anomalib", "train", *method.split(), *TRAINED, *data.split(), "cable"))
    (checkpoint,) = (workplace.folder / "results" / "ClipAD").rglob("*.ckpt")
    assert checkpoint.stat().st_size < 2e6
    command = ["anomalib", "test", *method.split(), *TRAINED, "--ckpt_path", str(checkpoint), *data.split(), "bottle"]
    assert set(metrics_of(workplace.start(*command))) == METRICS


def test_a_wrong_category_gives_one_sentence(workplace):
    asked = ["test", "--model", "DualImageCLIP", *TRAINED, "--data", "MVTec", "--data.category", "botle"]
    # The plug-in sets up the messages when anomalib is imported. A fork does not import it again.
    for ended in (workplace.start("dualclip", *asked), workplace.start_prepared("anomalib", *asked)):
        assert refusal(ended).startswith("dualclip: MVTec AD has no category 'botle'. Did you mean 'bottle'?")


def test_a_wrong_argument_of_a_model_gives_one_sentence(workplace):
    asked = ["test", "--model", "DualImageCLIP", "--model.alhpa", "1", "--data", "Demo"]
    for ended in (workplace.start("dualclip", *asked), workplace.start_prepared("anomalib", *asked)):
        assert refusal(ended) == "dualclip: DualImageCLIP has no argument 'alhpa'. Did you mean --model.alpha?"


def test_arguments_of_anomalibs_models_are_left_to_anomalib(workplace):
    ended = workplace.start("anomalib", "test", "--model", "Patchcore", "--model.lyers", "1", "--data", "MVTec")
    assert "dualclip:" not in ended.err
    assert "lyers" in ended.err


def test_a_printed_configuration_can_be_read(workplace):
    asked = ["test", "--model", "DualImageCLIP", *TRAINED, "--model.seed", "3", "--data", "MVTec"]
    config = workplace.start("dualclip", *asked, "--print_config").out
    assert yaml.safe_load(config)["model"]["init_args"]["seed"] == 3
    (workplace.folder / "printed.yaml").write_text(config, encoding="utf-8")
    again = ["test", "--config", "printed.yaml", "--print_config"]
    assert workplace.start("dualclip", *again).out == config
    assert workplace.start_prepared("anomalib", *again).out == config


def test_data_that_cannot_be_had_are_one_sentence_before_a_download_begins(workplace):
    asked = ["test", "--model", "DualImageCLIP", *TRAINED, "--data", "MVTecAD", "--data.root", "nowhere"]
    closed = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    for name in ("dualclip", "anomalib"):
        ended = workplace.start(name, *asked, **closed)
        assert refusal(ended).startswith("dualclip: MVTec AD is not in 'nowhere' and cannot be downloaded (")
        assert "Downloading" not in ended.out

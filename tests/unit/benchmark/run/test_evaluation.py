"""Additional metrics and the rules by which masks are resized, compared with plain computations."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import anomalib.metrics
import numpy as np
import pandas as pd
import pytest
import torch
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from PIL import Image
from sklearn.metrics import f1_score
from torchvision import transforms

from dualclip_lightning import DualImageCLIP
from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.report.tables import write_tables
from dualclip_lightning.benchmark.results import assemble, load_run, write_cell
from dualclip_lightning.benchmark.run import execute
from dualclip_lightning.benchmark.run.execute import run_cell
from dualclip_lightning.metrics import AUPIMO, default_evaluator
from dualclip_lightning.metrics.functional import pixel_metrics
from dualclip_lightning.predict.limits import RATE
from tests.tiny_benchmark import shipped_config, tiny_config
from tests.towers import SIZE, write_mvtec

ALL = {"pro_limits": [0.05], "pro_200": True, "aupimo": True, "threshold": "run", "bootstrap": 5, "ap_trapezoid": True}
JOINT = {"joint": {"model": "DualImageCLIP"}}
PATCHCORE = {
    "PatchCore": {"model": "Patchcore", "arguments": {"pre_trained": False, "backbone": "resnet18", "image_size": SIZE}}
}


def first_cell(root, weights, methods=JOINT, **changes):
    return plan(tiny_config(root, weights, keep_maps="all", seeds=[0], methods=methods, **changes))[0]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Root of the usual test data, but with more normal than anomalous images, as label-free thresholds assume."""
    folder = tmp_path_factory.mktemp("uneven")
    write_mvtec(folder, "metal_nut", normal=16, anomalous=6)
    return folder


@pytest.fixture(scope="module")
def found(root, tiny_folder):
    return run_cell(first_cell(root, tiny_folder, evaluation=ALL))


def as_released(path, rule):
    """Read a mask file with the transforms of the released codes."""
    steps = transforms.Compose([transforms.Resize((SIZE, SIZE)), transforms.CenterCrop(SIZE), transforms.ToTensor()])
    values = steps(Image.open(path))[0].numpy()
    return values > 0.5 if rule == "bilinear" else values.astype(np.int32) == 1


@pytest.mark.parametrize(("methods", "rule"), [(JOINT, "bilinear"), (PATCHCORE, "full")], ids=["ours", "anomalib's"])
def test_the_rule_for_masks_holds_in_the_benchmark_for_every_method_and_is_recorded(methods, rule, root, tiny_folder):
    result = run_cell(first_cell(root, tiny_folder, methods, masks=rule))
    assert result.row["status"] == "done", result.row["error"]
    assert result.row["masks"] == rule
    for path, mask in zip(result.maps.image_path, result.maps.masks, strict=True):
        if "scratch" in path:
            drawn = root / path.replace("/test/", "/ground_truth/").replace(".png", "_mask.png")
            np.testing.assert_array_equal(mask, as_released(drawn, rule))
        else:
            assert not mask.any()


def test_a_method_may_have_another_rule_than_the_run(root, tiny_folder):
    methods = {**JOINT, "other": {"model": "DualImageCLIP", "masks": "full"}}
    config = tiny_config(root, tiny_folder, masks="bilinear", methods=methods, seeds=[0])
    assert [cell.masks for cell in plan(config)] == ["bilinear", "full"]
    assert len({cell.key for cell in plan(config)}) == 2


@pytest.mark.slow
def test_the_engine_takes_the_rule_from_the_evaluator_and_records_it(root, tiny_folder, found, tmp_path):
    figures = {}
    for rule in ("nearest", "full"):
        model = DualImageCLIP(
            pretrained=str(tiny_folder), visualizer=False, evaluator=default_evaluator(masks=rule, pro_limits=[0.05])
        )
        engine = Engine(default_root_dir=tmp_path, logger=False, accelerator="cpu", enable_progress_bar=False)
        data = MVTecAD(root=root, category="metal_nut", num_workers=0)
        (figures[rule],) = engine.test(model=model, datamodule=data, verbose=False)
        written = json.loads(next(tmp_path.rglob("provenance.json")).read_text(encoding="utf-8"))
        assert written["evaluation"]["masks"] == rule
        assert "pixel_PRO@0.05" in written["evaluation"]["metrics"]
    assert figures["nearest"]["pixel_PRO@0.05"] == pytest.approx(found.row["pixel_PRO@0.05"], abs=1e-6)
    assert figures["nearest"]["pixel_PRO"] != pytest.approx(figures["full"]["pixel_PRO"], abs=1e-4)


@pytest.mark.slow
def test_further_metrics_are_those_of_the_kept_maps(found):
    maps, masks = found.maps.maps.astype(np.float32), found.maps.masks
    assert found.row["pixel_PRO@0.05"] == pytest.approx(pixel_metrics(maps, masks, fpr_limit=0.05)["pro"], abs=5e-3)
    assert found.row["pixel_PRO200"] == pytest.approx(released_pro(masks, maps), abs=1e-2)  # maps are stored in half
    assert found.row["pixel_AUPIMO"] is None  # AUPIMO needs more normal pixels


@pytest.mark.slow
def test_aupimo_is_anomalibs_where_it_exists_and_n_a_where_it_does_not(caplog):
    random = torch.Generator().manual_seed(0)
    masks = torch.zeros(4, 192, 192, dtype=torch.bool)
    masks[3:, 30:60, 40:60] = True
    maps = torch.randn(masks.shape, generator=random) + 5 * masks
    ours, theirs = AUPIMO(prefix="pixel_"), anomalib.metrics.AUPIMO()
    for metric in (ours, theirs):
        metric.update(SimpleNamespace(anomaly_map=maps, gt_mask=masks))
    assert ours.name == "pixel_AUPIMO"
    assert 0.5 < float(ours.compute()) == float(theirs.compute()) < 1
    few = AUPIMO(prefix="pixel_")
    few.update(SimpleNamespace(anomaly_map=maps[:, :9, :9], gt_mask=masks[:, :9, :9]))
    assert few.compute().isnan()
    assert "pixel_AUPIMO is n/a" in caplog.text


def released_pro(masks, maps):
    """Compute PRO from 200 thresholds, for false-positive rates below 0.3, which are rescaled to [0, 1]."""
    from skimage import measure

    regions = [
        (i, region.coords) for i, mask in enumerate(masks) for region in measure.regionprops(measure.label(mask))
    ]
    rates, overlaps = [], []
    for threshold in np.linspace(maps.min(), maps.max(), 200, endpoint=False):
        above = maps > threshold
        overlaps.append(np.mean([above[i][tuple(coords.T)].mean() for i, coords in regions]))
        rates.append(above[~masks].mean())
    rates, overlaps = np.array(rates), np.array(overlaps)
    kept = rates < 0.3
    x = (rates[kept] - rates[kept].min()) / (rates[kept].max() - rates[kept].min())
    return np.trapezoid(overlaps[kept][::-1], x[::-1])


@pytest.mark.slow
def test_f1_at_the_threshold_in_use_needs_no_label(found):
    scores, labels = found.images["score"].to_numpy(), found.images["label"].to_numpy(int)
    highest = int(len(scores) * RATE)
    assert highest == 1
    expected = f1_score(labels, scores > np.sort(scores)[-1 - highest])
    assert found.row["image_F1@run"] == pytest.approx(expected, abs=1e-6)


def test_the_threshold_is_that_of_all_images_with_and_without_label():
    scores = np.linspace(0, 0.99, 100)
    labels = [int(score > 0.5) if place % 2 else None for place, score in enumerate(scores)]
    images = pd.DataFrame({"label": labels, "score": scores}).astype({"label": "Int64"})
    kept = images["label"].notna()
    threshold = np.sort(scores)[-1 - round(RATE * len(scores))]
    expected = f1_score(images["label"][kept].astype(int), images["score"][kept] > threshold)
    recorder = SimpleNamespace(images=lambda: images)
    assert execute._f1_at_threshold(recorder) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_intervals_enclose_their_figures_and_have_a_separate_table(found, tmp_path):
    for metric in ("image_AUROC", "pixel_PRO", "pixel_PRO@0.05"):
        assert found.row[f"{metric}_low"] <= found.row[metric] <= found.row[f"{metric}_high"]
    write_cell(tmp_path, found)
    assemble(tmp_path, [found.row["key"]])
    run = load_run(tmp_path)
    assert run.frame["pixel_PRO@0.05_low"].iloc[0] == pytest.approx(found.row["pixel_PRO@0.05_low"])
    write_tables(run)
    text = (tmp_path / "tables" / "mvtecad_intervals.md").read_text(encoding="utf-8")
    shown = [f"{100 * found.row[f'image_AUROC{end}']:.1f}" for end in ("", "_low", "_high")]
    assert "{} [{}, {}]".format(*shown) in text
    assert "5 bootstrap resamples" in text
    summary = (tmp_path / "tables" / "mvtecad.md").read_text(encoding="utf-8")
    for column in ("PRO to FPR 0.05", "PRO, 200 thresholds", "image F1 at the run threshold"):
        assert f"| {column} |" in summary
    assert "Pixel figures are those of nearest masks" in summary


def test_additional_metrics_are_only_computed_on_request(mvtec_root, tiny_folder):
    row = run_cell(first_cell(mvtec_root, tiny_folder)).row
    assert not [name for name in row if "@" in name or name.endswith(("_low", "_high", "200", "AUPIMO"))]
    assert row["masks"] == "nearest"


@pytest.mark.slow
def test_masks_that_are_not_black_and_white_are_thresholded_with_a_warning(tiny_folder, tmp_path, caplog):
    write_mvtec(tmp_path, "metal_nut")
    sound = run_cell(first_cell(tmp_path, tiny_folder))
    for path in (tmp_path / "metal_nut" / "ground_truth").rglob("*.png"):
        image = Image.open(path)
        path.unlink()
        with path.open("wb") as file:  # a JPEG with the file name that the data set expects
            image.save(file, format="JPEG", quality=30)
    lossy = run_cell(first_cell(tmp_path, tiny_folder))
    assert lossy.row["pixel_PRO"] == pytest.approx(sound.row["pixel_PRO"], abs=0.05)
    said = json.loads(lossy.row["evaluation"])["odd_masks"]
    assert said.startswith("5 mask(s) are not of two values, the first '")
    assert "odd_masks" not in json.loads(sound.row["evaluation"])
    assert f"metal_nut: {said}" in tables_of(tmp_path / "run", lossy)
    data = MVTecAD(root=tmp_path, category="metal_nut", num_workers=0)
    model = DualImageCLIP(pretrained=str(tiny_folder), visualizer=False)
    Engine(default_root_dir=tmp_path / "out", logger=False, accelerator="cpu").test(
        model, datamodule=data, verbose=False
    )
    assert said in caplog.text


def tables_of(folder, result):
    """Return the table of a run with one cell."""
    write_cell(folder, result)
    assemble(folder, [result.row["key"]])
    write_tables(load_run(folder))
    return (folder / "tables" / "mvtecad.md").read_text(encoding="utf-8")


def test_maps_of_several_sizes_are_evaluated_but_not_stored_and_the_table_states_it(mvtec_root, tiny_folder, tmp_path):
    tiles = {"a": {"model": "AnoCLIP", "arguments": {"resize": "tiles", "views": False, "steps": 0}}}
    result = run_cell(first_cell(mvtec_root, tiny_folder, tiles, batch_size=1))
    assert result.row["status"] == "done", result.row["error"]
    assert result.row["pixel_PRO"] is not None
    assert result.maps is None
    why = json.loads(result.row["evaluation"])["unkept_maps"]
    assert re.fullmatch(
        r"maps of several sizes \(\d+x\d+, \d+x\d+\) are not kept, so that the report draws none\.", why
    )
    assert f"metal_nut: {why}" in tables_of(tmp_path, result)


@pytest.mark.slow
def test_a_metric_that_was_asked_for_and_that_no_cell_has_is_named_with_the_reason(mvtec_root, tiny_folder, tmp_path):
    asked = {"aupimo": True, "threshold": "run", "pro_200": True}
    result = run_cell(first_cell(mvtec_root, tiny_folder, evaluation=asked))
    assert result.row["pixel_AUPIMO"] is result.row["image_F1@run"] is None  # too few and too small images
    said = tables_of(tmp_path, result)
    assert "AUPIMO was asked for, but no cell here has it: too few normal pixels" in said
    assert "image F1 at the run threshold was asked for, but no cell here has it: too few images" in said
    assert "PRO, 200 thresholds was asked for" not in said


@pytest.mark.parametrize(("name", "musc"), [("mvtec", "full"), ("visa", "bilinear")])
def test_configurations_of_published_tables_have_the_rules_and_the_pro_of_the_released_codes(name, musc):
    config = shipped_config(name)
    rules = {settings.model: settings.masks or config.masks for settings in config.methods.values()}
    released = {"AnoCLIP": "bilinear", "ClipAD": "bilinear", "WindowCLIP": "bilinear", "MuSc": musc}
    assert rules | released == rules
    assert config.evaluation.pro_200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"masks": "bilinaer"}, "Unknown rule under masks 'bilinaer'. Did you mean 'bilinear'"),
        (
            {"methods": {"a": {"model": "MuSc", "masks": "fulll"}}},
            "methods.a.masks 'fulll'. Did you mean 'full'",
        ),
        ({"evaluation": {"pro200": True}}, "Unknown key of evaluation 'pro200'. Did you mean 'pro_200'"),
        ({"evaluation": [1]}, "Expected settings under `evaluation`, but got [1]"),
        ({"evaluation": {"pro_limits": [1.5]}}, "Expected evaluation.pro_limits in (0, 1]"),
        ({"evaluation": {"pro_limits": [0.3]}}, "not 0.3, which every run has"),
        ({"evaluation": {"bootstrap": -1}}, "Expected evaluation.bootstrap from 0"),
        ({"evaluation": {"threshold": "ran"}}, "Unknown evaluation.threshold 'ran'. Did you mean 'run'"),
    ],
)
def test_invalid_values_are_refused_by_name(changes, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        tiny_config("data", "demo", **changes)

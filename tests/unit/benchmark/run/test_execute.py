from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from anomalib.data import Folder, MVTecAD
from anomalib.engine import Engine
from sklearn.metrics import average_precision_score, roc_auc_score

from dualclip_lightning import ClipAD, DualImageCLIP
from dualclip_lightning.benchmark.names import slug
from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.results import COLUMNS
from dualclip_lightning.benchmark.run.engine import make_engine
from dualclip_lightning.benchmark.run.execute import run_cell
from dualclip_lightning.benchmark.run.methods import build_method, kind_of
from dualclip_lightning.benchmark.run.rehearsal import rehearse
from dualclip_lightning.demo.data import datamodule, samples
from dualclip_lightning.models.references import normal_images
from tests.outside_method import write_outside_method
from tests.tiny_benchmark import tiny_config
from tests.towers import SIZE, write_mvtec

PATCHCORE = {
    "PatchCore": {"model": "Patchcore", "arguments": {"pre_trained": False, "backbone": "resnet18", "image_size": 64}}
}


def cells(root, weights, **changes):
    return plan(tiny_config(root, weights, keep_maps="all", **changes))


@pytest.fixture(scope="module")
def joint(mvtec_root, tiny_folder):
    return run_cell(cells(mvtec_root, tiny_folder)[1])


@pytest.fixture(scope="module")
def patchcore(mvtec_root, tiny_folder):
    return run_cell(cells(mvtec_root, tiny_folder, methods=PATCHCORE)[0])


def test_the_figures_are_those_of_the_kept_scores_and_maps(joint):
    row, images, maps = joint.row, joint.images, joint.maps
    assert row["status"] == "done"
    assert row["image_AUROC"] == pytest.approx(roc_auc_score(images["label"].astype(int), images["score"]), abs=1e-6)
    assert row["image_AP"] == pytest.approx(
        average_precision_score(images["label"].astype(int), images["score"]), abs=1e-6
    )
    # Stored maps are in half precision.
    pixels = roc_auc_score(maps.masks.ravel(), maps.maps.astype(np.float64).ravel())
    assert row["pixel_AUROC"] == pytest.approx(pixels, abs=2e-3)
    assert maps.maps.shape == maps.masks.shape == (9, SIZE, SIZE)
    assert maps.masks.any((1, 2)).tolist() == images["label"].astype(bool).tolist()
    assert maps.image_path == images["image_path"].tolist()


def test_a_row_has_every_column_and_its_provenance(joint, mvtec_root, tiny_folder):
    row = joint.row
    assert set(COLUMNS) <= set(row)
    assert (row["kind"], row["num_images"], row["device"], row["precision"]) == ("pair", 9, "cpu", "32-true")
    assert row["weights"] == f"local-dir:{tiny_folder}"
    assert row["weights_sha256"] == DualImageCLIP(pretrained=str(tiny_folder)).backbone.digest
    assert json.loads(row["weights_origin"]) == {"path": str(tiny_folder)}
    assert str(SIZE) in row["transform"]
    assert json.loads(row["parameters"])["alpha"] == 0.5
    assert json.loads(row["versions"])["torch"] == torch.__version__.partition("+")[0]
    assert 0 < row["seconds_per_image"] * 9 < row["seconds"]
    assert row["peak_memory_mb"] > 10
    assert row["data_root"] == str(mvtec_root)
    assert "metal_nut/test/good/000.png" in set(joint.images["image_path"])


@pytest.mark.slow
def test_the_same_cell_gives_the_same_numbers_and_does_not_change_the_global_generators(
    joint, patchcore, mvtec_root, tiny_folder
):
    for first, methods in ((joint, {"joint": {"model": "DualImageCLIP"}}), (patchcore, PATCHCORE)):
        before, threads = torch.get_rng_state(), torch.get_num_threads()
        np.random.seed(2)  # noqa: NPY002 - as in another process
        second = run_cell(cells(mvtec_root, tiny_folder, methods=methods)[0])
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads
        assert first.images.equals(second.images)


def test_a_row_has_a_digest_of_the_tested_images_and_masks(joint, tiny_folder, tmp_path):
    write_mvtec(tmp_path / "other", "metal_nut")
    cell = cells(tmp_path / "other", tiny_folder)[1]
    same = run_cell(cell).row
    assert same["images_sha256"] == joint.row["images_sha256"]  # independent of the location
    assert json.loads(same["data_arguments"])["root"] == str(tmp_path / "other")
    changed = []
    for part in ("test/*/*.png", "ground_truth/*/*.png"):
        path = min((tmp_path / "other" / "metal_nut").glob(part))
        kept = path.read_bytes()
        path.write_bytes(kept + b"0")  # ignored by all readers
        changed.append(run_cell(cell).row["images_sha256"])
        path.write_bytes(kept)
    assert len({same["images_sha256"], *changed}) == 3


@pytest.mark.slow
def test_the_masks_that_a_row_knows_do_not_depend_on_the_order_of_the_images(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datamodule, "CATEGORIES", ("cork",))
    monkeypatch.setattr(samples, "GOOD_IMAGES", 5)
    monkeypatch.setattr(samples, "KINDS", samples.KINDS[:3])
    monkeypatch.setenv("DUALCLIP_CACHE", str(tmp_path))
    demo = {"Demo": {"categories": ["cork"]}}  # normal images without a mask come first in some batches
    rows = [run_cell(cell).row for cell in cells("unused", tiny_folder, datasets=demo, seeds=[0, 1])]
    assert len(rows) > 2
    assert len({row["images_sha256"] for row in rows}) == 1


def test_a_folder_is_tested_whole_and_with_the_same_images_for_every_seed(mvtec_root, tiny_folder):
    arguments = {"name": "nuts", "root": str(mvtec_root / "metal_nut"), "normal_dir": "train/good",
                 "normal_test_dir": "test/good", "abnormal_dir": "test/scratch"}  # fmt: skip
    planned = cells(mvtec_root, tiny_folder, datasets={"Folder": {"arguments": arguments}}, seeds=[0, 1])[1:]
    frames = [run_cell(cell).images for cell in planned]
    on_disk = sorted(path.relative_to(arguments["root"]).as_posix() for path in mvtec_root.glob("*/test/*/*.png"))
    assert len(frames) == 2
    assert all(frame["image_path"].tolist() == on_disk for frame in frames)


@pytest.mark.slow
def test_patchcore_is_trained_evaluated_like_the_others_and_labelled_full_shot(joint, patchcore):
    found = patchcore
    assert found.row["status"] == "done", found.row["error"]
    assert (found.row["kind"], found.row["backbone"], found.row["weights"]) == ("full-shot", "resnet18", "random")
    assert "Resize(size=[64, 64]" in found.row["transform"]
    assert found.images[["image_path", "label"]].equals(joint.images[["image_path", "label"]])
    assert found.row["image_AUROC"] == pytest.approx(
        roc_auc_score(found.images["label"].astype(int), found.images["score"]), abs=1e-6
    )
    assert found.images["score"].max() > 1  # distances, not normalised by a threshold


@pytest.mark.slow
def test_few_shot_training_takes_the_normal_images_that_winclip_plus_takes(mvtec_root, tiny_folder):
    methods = {"few": {"model": "padim", "arguments": {"pre_trained": False, "image_size": 32}, "k_shot": 2}}
    first, second = (run_cell(cell) for cell in cells(mvtec_root, tiny_folder, methods=methods, seeds=[0, 1]))
    assert first.row["status"] == "done", first.row["error"]
    assert first.row["kind"] == "few-shot"
    assert json.loads(first.row["parameters"])["k_shot"] == 2
    data = MVTecAD(mvtec_root, "metal_nut")
    data.setup()
    assert first.row["training_images"] == normal_images(2, 0, None, data)
    assert first.row["training_images"] != second.row["training_images"]
    assert not np.allclose(first.images["score"], second.images["score"])


def test_more_images_than_there_are_fail_the_cell_with_the_remedy(mvtec_root, tiny_folder):
    methods = {"few": {"model": "padim", "arguments": {"pre_trained": False}, "k_shot": 99}}
    row = run_cell(cells(mvtec_root, tiny_folder, methods=methods)[0]).row
    assert "Lower k_shot" in row["error"]


def test_a_model_of_anomalib_keeps_the_device_and_the_validation_of_the_run_and_gets_the_trainers_settings(
    mvtec_root, tiny_folder, monkeypatch
):
    methods = {"a": {"model": "padim", "arguments": {"pre_trained": False}, "trainer": {"max_epochs": 3}}}
    (cell,) = cells(mvtec_root, tiny_folder, methods=methods, seeds=[0])
    model = build_method(cell)
    asked = {"max_epochs": 1, "devices": 4, "limit_val_batches": 1.0, "gradient_clip_val": 0.5}
    monkeypatch.setattr(type(model), "trainer_arguments", property(lambda _: asked))
    engine = make_engine(cell, torch.device("cpu"), mvtec_root)
    engine._setup_trainer(model)
    trainer = engine.trainer
    assert (trainer.max_epochs, trainer.num_devices, trainer.limit_val_batches) == (3, 1, 0)
    assert trainer.gradient_clip_val == 0.5
    assert trainer.default_root_dir == str(mvtec_root)


@pytest.mark.parametrize(
    ("changes", "settings", "kind"),
    [
        ((), {}, "full-shot"),
        ((), {"k_shot": 1}, "few-shot"),
        ((), {"kind": "auxiliary, transductive"}, "auxiliary, transductive"),
        (
            [("    def __init__(self, neighbours: int", "    kind = 'pair'\n\n    def __init__(self, neighbours: int")],
            {},
            "pair",
        ),
        (
            [("LearningType.ONE_CLASS", "LearningType.ZERO_SHOT"), ("size)))", "size)), post_processor=False)")],
            {},
            "inductive",
        ),
    ],
)
def test_an_outside_class_states_its_kind_or_its_learning_type_or_the_configuration_do(
    changes, settings, kind, tmp_path, monkeypatch, mvtec_root, tiny_folder
):
    name = f"of_kind_{slug(kind)}_{len(changes)}"  # a module is imported once
    write_outside_method(tmp_path, name, changes)
    monkeypatch.syspath_prepend(tmp_path)
    methods = {"a": {"model": f"{name}.ColourKnn", **settings}}
    (cell,) = cells(mvtec_root, tiny_folder, methods=methods, seeds=[0])
    assert str(kind_of(build_method(cell), cell)) == kind


@pytest.mark.slow
def test_an_outside_class_is_trained_and_judged_as_all_others(joint, tmp_path, monkeypatch, mvtec_root, tiny_folder):
    write_outside_method(tmp_path, "outside_colours")
    monkeypatch.syspath_prepend(tmp_path)
    (cell,) = cells(mvtec_root, tiny_folder, methods={"a": {"model": "outside_colours.ColourKnn"}}, seeds=[0])
    rehearse([cell])
    found = run_cell(cell)
    row = found.row
    assert row["status"] == "done", row["error"]
    assert (row["class_path"], row["package"]) == (cell.model, str(tmp_path / "outside_colours.py"))
    assert row["backbone"] is None
    assert json.loads(row["parameters"]) == {"neighbours": 1, "size": 32, "seed": 0}
    assert found.images[["image_path", "label"]].equals(joint.images[["image_path", "label"]])
    scores = roc_auc_score(found.images["label"].astype(int), found.images["score"])
    assert row["image_AUROC"] == pytest.approx(scores, abs=1e-6)
    pixels = roc_auc_score(found.maps.masks.ravel(), found.maps.maps.astype(np.float64).ravel())
    assert row["pixel_AUROC"] == pytest.approx(pixels, abs=5e-3)


def test_a_method_without_maps_has_figures_of_images_only(tmp_path, monkeypatch, mvtec_root, tiny_folder):
    write_outside_method(tmp_path, "without_maps", [("amax((1, 2, 3)), anomaly_map=maps)", "amax((1, 2, 3)))")])
    monkeypatch.syspath_prepend(tmp_path)
    (cell,) = cells(mvtec_root, tiny_folder, methods={"a": {"model": "without_maps.ColourKnn"}}, seeds=[0])
    found = run_cell(cell)
    assert found.row["status"] == "done", found.row["error"]
    scores = roc_auc_score(found.images["label"].astype(int), found.images["score"])
    assert found.row["image_AUROC"] == pytest.approx(scores, abs=1e-6)
    assert found.row["pixel_AUROC"] is found.row["pixel_PRO"] is found.maps is None


def test_an_error_becomes_the_result_of_the_cell(tmp_path, tiny_folder):
    row = run_cell(cells(tmp_path / "nowhere", tiny_folder, datasets={"Folder": {"arguments": {
        "name": "plates", "root": str(tmp_path), "normal_dir": "good", "abnormal_dir": "bad"}}})[0]).row  # fmt: skip
    assert row["status"] == "failed"
    assert "\n" not in row["error"]
    assert row["error"].split(":")[0] in row["traceback"].splitlines()[-1]
    assert row["image_AUROC"] is None
    json.dumps(dict(row), allow_nan=False)


def test_the_time_of_the_steps_excludes_loading_and_metrics(mvtec_root, tiny_folder, monkeypatch, takes):
    from dualclip_lightning.benchmark.run import execute, recorder
    from dualclip_lightning.metrics.evaluator import ZeroShotEvaluator
    from dualclip_lightning.models.dual_image_clip import DualImageCLIPModel

    monkeypatch.setattr(recorder, "_now", lambda _: sum(takes.passed))
    takes(execute, "build_method", 100)
    takes(DualImageCLIPModel, "draw", 9)
    takes(ZeroShotEvaluator, "on_test_batch_end", 1000)
    row = run_cell(replace(cells(mvtec_root, tiny_folder)[1], batch_size=9)).row
    assert takes.passed == [100, 9, 1000]  # one batch of nine images
    assert row["seconds_per_image"] == 1


@pytest.mark.slow
def test_the_class_name_of_a_data_set_without_categories_reaches_the_prompts(mvtec_root, tiny_folder):
    folder = {"name": "nuts", "root": str(mvtec_root / "metal_nut"), "normal_dir": "test/good",
              "abnormal_dir": "test/scratch", "mask_dir": "ground_truth/scratch"}  # fmt: skip

    def scores(**settings):
        (cell, *_) = cells(
            mvtec_root, tiny_folder, datasets={"nuts": {"data": "Folder", "arguments": folder, **settings}}
        )
        found = run_cell(cell)
        assert found.row["status"] == "done", found.row["error"]
        return found

    plain, named = scores(), scores(class_name="rusty bridge")
    assert plain.row["category"] == "all"
    assert json.loads(named.row["parameters"])["class_name"] == "rusty bridge"
    assert not np.allclose(plain.images["score"], named.images["score"])


def test_a_value_that_a_constructor_refuses_is_refused_before_anything_runs(mvtec_root, tiny_folder):
    methods = {"far": {"model": "DualImageCLIP", "arguments": {"alpha": 2}},
               "odd": {"model": "DualImageCLIP", "arguments": {"tta": {"stesp": 1}}},
               "good": {"model": "DualImageCLIP"}}  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        rehearse(cells(mvtec_root, tiny_folder, methods=methods))
    said = str(refused.value)
    assert "methods.far: Expected alpha to be in [0, 1], but got 2" in said
    assert "methods.odd: Unknown setting(s) of tta: stesp" in said
    assert "methods.good" not in said


@pytest.mark.slow
def test_unavailable_weights_fail_only_their_cells(mvtec_root, tmp_path):
    broken = tmp_path / "weights.safetensors"
    broken.write_bytes(b"no weights")
    (cell, *_) = cells(
        mvtec_root, broken, arguments={"pretrained": str(broken), "backbone": "ViT-S-32", "preprocessing": "openai"}
    )
    rehearse([cell])
    row = run_cell(cell).row
    assert row["status"] == "failed"
    assert row["error"].startswith("WeightsError")


@pytest.fixture(scope="module")
def trained(tiny_folder, tmp_path_factory):
    """Checkpoint of SDP+ after one epoch on another data set."""
    root, folder = tmp_path_factory.mktemp("auxiliary"), tmp_path_factory.mktemp("trained")
    write_mvtec(root, "metal_nut", normal=2, anomalous=2)
    parts = {"normal_dir": "train/good", "normal_test_dir": "test/good", "abnormal_dir": "test/scratch"}
    parts["mask_dir"] = "ground_truth/scratch"
    data = Folder(name="other", root=root / "metal_nut", eval_batch_size=4, num_workers=0, **parts)
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=folder, enable_progress_bar=False)
    engine.fit(ClipAD(variant="sdp+", epochs=1, pretrained=str(tiny_folder), visualizer=False), datamodule=data)
    return engine.best_model_path


def sdp_plus(checkpoint):
    return {"SDP+": {"model": "ClipAD", "arguments": {"variant": "sdp+"}, "checkpoint": checkpoint, "seeds": [0]}}


def test_layers_trained_on_other_data_are_read_from_their_checkpoint_and_recorded(trained, mvtec_root, tiny_folder):
    (cell,) = cells(mvtec_root, tiny_folder, methods=sdp_plus(trained))
    rehearse([cell])
    row = run_cell(cell).row
    assert (row["status"], row["kind"]) == ("done", "auxiliary")
    assert json.loads(row["parameters"])["trained_on"]


@pytest.mark.parametrize("checkpoint", [None, "nowhere.ckpt"])
def test_untrained_layers_are_refused_before_anything_runs(checkpoint, mvtec_root, tiny_folder):
    with pytest.raises(
        ConfigError, match=r"methods.SDP\+: its layers are trained on other, labelled data. Name them under `train_on`"
    ):
        rehearse(cells(mvtec_root, tiny_folder, methods=sdp_plus(checkpoint)))


def test_a_checkpoint_for_a_method_without_trained_layers_is_refused(mvtec_root, tiny_folder):
    methods = {"joint": {"model": "DualImageCLIP", "checkpoint": "some.ckpt"}}
    with pytest.raises(ConfigError, match="Take `checkpoint` out"):
        rehearse(cells(mvtec_root, tiny_folder, methods=methods))

"""SDP+ of CLIP-AD: training on an auxiliary data set, and the contents of its checkpoint."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
import torch
from anomalib import LearningType
from anomalib.data import Folder, MVTecAD
from anomalib.engine import Engine
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Resize

from dualclip_lightning import ClipAD
from tests.towers import random_images, write_mvtec

EXACT = {"atol": 1e-6, "rtol": 0}
TEXT = {"representative": "dbscan", "eps": 0.5, "min_samples": 15, "words": "plain"}
HOW = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4, "shuffle": True, "seed": 0, **TEXT}


class Elsewhere(MVTecAD):
    """A data set with another name."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Root of two categories, metal_nut and screw, each with 3 normal and 4 anomalous test images."""
    folder = tmp_path_factory.mktemp("auxiliary")
    for category in ("metal_nut", "screw"):
        write_mvtec(folder, category, normal=3, anomalous=4)
    return folder


@pytest.fixture
def data(root):
    def build(kind=MVTecAD, category="metal_nut"):
        return kind(root=root, category=category, eval_batch_size=4, num_workers=0)

    return build


@pytest.fixture
def make(tiny_folder):
    def build(**arguments):
        quick = {"variant": "sdp+", "epochs": 1, "pretrained": str(tiny_folder), "visualizer": False}
        return ClipAD(**quick | arguments)

    return build


@pytest.fixture
def engine(tmp_path):
    def build():
        return Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "results", enable_progress_bar=False)

    return build


@pytest.fixture
def trained(make, engine, data):
    """Method after one epoch on metal_nut, and its checkpoint."""
    method, runner = make(), engine()
    runner.fit(method, datamodule=data())
    return method, runner.best_model_path


def labelled(datamodule):
    """Return all labelled images of a datamodule as one batch, resized as in a run."""
    datamodule.setup()
    items = [datamodule.test_data[i] for i in range(len(datamodule.test_data))]
    resize = torch.nn.functional.interpolate
    images = torch.cat([resize(item.image[None], (48, 48), mode="bilinear") for item in items])
    masks = torch.cat([resize(item.gt_mask[None, None].float(), (48, 48)) for item in items])[:, 0]
    return images, masks


@pytest.mark.slow
def test_overfits_a_small_auxiliary_set(make, engine, data):
    images, masks = labelled(data())
    method = make(epochs=40, learning_rate=0.01, class_name="metal nut", drawing="winclip")
    method.set_class_name("metal nut")
    images = method.pre_processor.transform(images)
    anchors = method.model.anchors.expand(len(images), 2, -1)
    before = method.model.loss(images, masks, anchors).item()
    engine().fit(method, datamodule=data())
    after = method.model.loss(images, masks, anchors).item()
    assert after < 0.6 * before
    maps = method.eval().model(images).anomaly_map
    assert maps[masks > 0].mean() > maps[masks == 0].mean() + 0.1


def test_a_loaded_checkpoint_gives_the_same_map(trained, make):
    method, path = trained
    loaded = ClipAD.load_from_checkpoint(path)
    fresh = make()
    images = random_images(3)
    for each in (method, loaded, fresh):
        each.set_class_name("screw")
        each.eval()
    expected = method.model(images)
    assert torch.equal(loaded.model(images).anomaly_map, expected.anomaly_map)
    assert (fresh.model(images).anomaly_map - expected.anomaly_map).abs().max() > 1e-4
    assert loaded.trained_on == method.trained_on


def test_a_checkpoint_contains_only_the_layers_and_what_they_were_trained_on(trained):
    method, path = trained
    checkpoint = torch.load(path, weights_only=True)
    parts = [f"model.trained_layers.{i}.{name}" for i in range(3) for name in ("weight", "bias")]
    weights = {key for key in checkpoint["state_dict"] if not key.startswith("post_processor.")}  # scalars of anomalib
    assert weights == set(parts)
    assert checkpoint["optimizer_states"] == []
    layers = sum(p.numel() * p.element_size() for p in method.model.trained_layers.parameters())
    assert layers < Path(path).stat().st_size < layers + 30_000
    record = checkpoint["auxiliary_training"]
    assert record["trained_on"] == [{"dataset": "MVTecAD", "categories": ["metal_nut"], "images": 7, **HOW}]
    assert record["fits"]["stages"] == [1, 2, 3]


def test_training_changes_the_layers_and_neither_changes_nor_reaches_clip(make, engine, data):
    method = make()
    clip = method.backbone.clip
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    layers = [p.clone() for p in method.model.trained_layers.parameters()]
    engine().fit(method, datamodule=data())
    assert all(torch.equal(value, before[key]) for key, value in clip.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in clip.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(layers, method.model.trained_layers.parameters(), strict=True))


def test_the_seed_decides_the_trained_layers_and_the_callers_generator_does_not(make, engine, data):
    weights = []
    for seed, noise in [(0, 1), (0, 2), (1, 1)]:
        torch.manual_seed(noise)
        method = make(seed=seed, batch_size=2)
        engine().fit(method, datamodule=data())
        weights.append(method.model.trained_layers[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_sees_the_labelled_images_in_batches_of_its_own_size(make, engine, data, monkeypatch):
    seen = []
    step = ClipAD.training_step

    def spy(self, batch, batch_idx):
        seen.append([path.rsplit("test/", 1)[1] for path in batch.image_path])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(ClipAD, "training_step", spy)
    datamodule = data()
    engine().fit(make(batch_size=3, shuffle=False), datamodule=datamodule)
    assert [len(batch) for batch in seen] == [3, 3, 1]
    expected = [f"good/00{i}.png" for i in range(3)] + [f"scratch/00{i}.png" for i in range(4)]
    assert list(chain(*seen)) == expected
    seen.clear()
    engine().fit(make(batch_size=3), datamodule=datamodule)
    assert list(chain(*seen)) != expected
    assert sorted(chain(*seen)) == expected
    assert "train_dataloader" not in vars(datamodule)


def test_several_categories_each_have_their_own_anchors(make, engine, data, monkeypatch):
    told = {}
    model = make(auxiliary_categories=["screw", "metal_nut"], batch_size=7, shuffle=False)
    loss = model.model.loss

    def spy(images, masks, anchors):
        told.setdefault(len(told), anchors)
        return loss(images, masks, anchors)

    monkeypatch.setattr(model.model, "loss", spy)
    engine().fit(model, datamodule=data())
    assert model.trained_on[0]["categories"] == ["screw", "metal_nut"]
    assert model.trained_on[0]["images"] == 14
    for anchors, words in zip(told.values(), ("metal nut", "screw"), strict=True):  # images are sorted by path
        model.set_class_name(words)
        torch.testing.assert_close(anchors, model.model.anchors.expand(7, 2, -1), **EXACT)


def test_a_message_states_if_test_anchors_differ_from_those_of_training(make, engine, data):
    method = make(eps=1.5, min_samples=25)
    engine().train(method, datamodule=data())
    loaded = make()
    checkpoint = {}
    method.on_save_checkpoint(checkpoint)
    loaded.on_load_checkpoint(checkpoint)
    told = loaded.provenance()
    assert (told["trained_on"][0]["eps"], told["trained_on"][0]["min_samples"]) == (1.5, 25)
    assert (told["parameters"]["eps"], told["parameters"]["min_samples"]) == (0.5, 15)


def test_the_test_after_training_is_left_out_with_a_warning_that_names_the_checkpoint(make, engine, data, caplog):
    runner, method = engine(), make()
    assert runner.train(method, datamodule=data()) == []
    assert f"--ckpt_path {runner.best_model_path}" in caplog.text
    (metrics,) = runner.test(method, datamodule=data(Elsewhere))
    assert "image_AUROC" in metrics


def test_a_checkpoint_is_refused_on_the_data_it_was_trained_on(trained, make, engine, data):
    _, path = trained
    with pytest.raises(ValueError, match=r"trained on these images \('metal_nut' of MVTecAD\).*another data set"):
        engine().test(make(), ckpt_path=path, datamodule=data())


def test_other_categories_of_the_same_data_set_give_a_warning(trained, make, engine, data, caplog):
    _, path = trained
    assert engine().test(make(), ckpt_path=path, datamodule=data(category="screw"))
    assert "other categories of MVTecAD" in caplog.text


def test_another_data_set_is_tested_without_a_warning(trained, make, engine, data, caplog, tmp_path):
    _, path = trained
    runner, method = engine(), make()
    assert runner.test(method, ckpt_path=path, datamodule=data(Elsewhere))
    assert "trained on" not in caplog.text
    record = json.loads(next((tmp_path / "results").rglob("Elsewhere/**/provenance.json")).read_text())
    assert record["kind"] == "auxiliary"
    assert record["trained_on"] == [{"dataset": "MVTecAD", "categories": ["metal_nut"], "images": 7, **HOW}]


def test_provenance_records_the_layers_in_use_and_their_training(trained, make, engine, data):
    method, path = trained
    tested = make(epochs=99, seed=5)
    fresh = tested.provenance()
    assert fresh["parameters"]["epochs"] == 99
    engine().test(tested, ckpt_path=path, datamodule=data(Elsewhere))
    told = tested.provenance()
    assert told["trained_on"][0]["epochs"] == 1  # from the checkpoint, not from the tested object
    assert not {"epochs", "learning_rate"} & set(told["parameters"])
    assert told["layers_sha256"] == method.provenance()["layers_sha256"] != fresh["layers_sha256"]


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_untrained_layers_are_refused_with_the_way_to_train_them(make, engine, data, stage):
    with pytest.raises(ValueError, match=r"not trained.*anomalib train --model ClipAD --model.variant sdp\+"):
        getattr(engine(), stage)(make(), datamodule=data())


@pytest.mark.slow
def test_layers_are_exported_once_they_are_trained(trained, make, tmp_path):
    method, _ = trained
    with pytest.raises(ValueError, match=r"cannot be exported with these settings: .*train them, or set variant"):
        make().to_torch(tmp_path)
    path = method.to_torch(tmp_path)
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    exported = torch.load(path, weights_only=False)["model"].eval()
    torch.testing.assert_close(exported(images).anomaly_map, method.eval()(images).anomaly_map, **EXACT)


def test_layers_for_other_stages_are_refused(trained, make, engine, data):
    _, path = trained
    with pytest.raises(ValueError, match=r"\[1, 2, 3\].*\[1, 2\].*Set backbone, pretrained and stages"):
        engine().test(make(stages=[1, 2]), ckpt_path=path, datamodule=data(Elsewhere))


def test_a_checkpoint_of_sdp_has_no_layers_for_sdp_plus(make, engine, data, tmp_path, tiny_folder):
    runner, plain = engine(), ClipAD(pretrained=str(tiny_folder), visualizer=False)
    runner.test(plain, datamodule=data())
    runner.trainer.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="holds no trained layers"):
        engine().test(make(), ckpt_path=tmp_path / "plain.ckpt", datamodule=data(Elsewhere))


def test_sdp_reports_that_it_ignores_the_layers_of_a_checkpoint(trained, make, engine, data, caplog):
    _, path = trained
    assert engine().test(make(variant="sdp"), ckpt_path=path, datamodule=data(Elsewhere))
    assert "variant='sdp' leaves out" in caplog.text


def test_data_without_masks_is_refused(make, engine, root):
    folder = root / "metal_nut" / "test"
    unmasked = Folder("unmasked", root=folder, normal_dir="good", abnormal_dir="scratch", num_workers=0)
    with pytest.raises(ValueError, match=r"no masks of defects.*MVTecAD or Visa"):
        engine().fit(make(), datamodule=unmasked)


def test_categories_of_a_data_set_that_has_none_are_refused(make, engine, root):
    folder = root / "metal_nut"
    plain = Folder(
        "plain", root=folder, normal_dir="test/good", abnormal_dir="test/scratch",
        mask_dir="ground_truth/scratch", num_workers=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="plain has no categories"):
        engine().fit(make(auxiliary_categories=["screw"]), datamodule=plain)


def test_an_unknown_category_is_refused_with_the_known_ones(make, engine, data):
    with pytest.raises(ValueError, match=r"no category 'bolt'.*metal_nut, screw"):
        engine().fit(make(auxiliary_categories=["screw", "bolt"]), datamodule=data())


def test_custom_training_loaders_are_used_unchanged(make, engine, data):
    datamodule = data()
    datamodule.setup()
    method = make(class_name="metal nut")
    dataset = datamodule.test_data
    dataset.augmentations = Resize((48, 48))
    engine().fit(method, train_dataloaders=DataLoader(dataset, batch_size=4, collate_fn=dataset.collate_fn))
    own = {"epochs": 1, "learning_rate": 1e-4, "seed": 0, **TEXT}
    assert method.trained_on == ({"dataset": "MVTecAD", "categories": ["metal_nut"], "images": 7, **own},)


def test_only_sdp_plus_trains(make):
    assert make().learning_type is LearningType.ONE_CLASS
    assert make(epochs=3).trainer_arguments["max_epochs"] == 3
    plain = make(variant="sdp")
    assert plain.learning_type is LearningType.ZERO_SHOT
    assert "max_epochs" not in plain.trainer_arguments
    with pytest.raises(ValueError, match=r"nothing to train.*variant='sdp\+'"):
        plain.configure_optimizers()

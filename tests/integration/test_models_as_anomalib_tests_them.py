"""The sequence of calls with which anomalib tests its own models, for every registered model of this package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from anomalib.data import AnomalibDataset, MVTecAD
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import get_model, list_models

from dualclip_lightning.pairing import OrderedDataset
from dualclip_lightning.registry import MODELS, register
from tests.towers import write_mvtec

register()
OURS = sorted(name for name in list_models() if name.replace("_", "") in {model.lower() for model in MODELS})
EXPORTED = {"clip_zero_shot", "window_c_l_i_p", "clip_a_d"}
"""Models whose score, with the default arguments, depends only on the image."""
LESS_WORK = {"ano_c_l_i_p": {"views": False, "steps": 1}}
"""Arguments with which a model takes less time."""


def test_anomalib_lists_every_model_of_this_package():
    assert len(OURS) == len(MODELS)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("mvtecad")
    write_mvtec(root, "dummy")
    return root


@pytest.fixture(scope="module", params=OURS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def project(name, tmp_path_factory):
    return tmp_path_factory.mktemp(name)


@pytest.fixture(scope="module")
def objects(name, data_root, project):
    """Function that makes a new model, datamodule and Engine, as each of anomalib's tests does."""

    def make(**arguments):
        data = MVTecAD(root=data_root, category="dummy", train_batch_size=2, num_workers=0)
        engine = Engine(
            logger=False, default_root_dir=project, max_epochs=1, devices=1, accelerator="cpu",
            enable_progress_bar=False,
        )  # fmt: skip
        return get_model(name, pretrained="demo", **LESS_WORK.get(name, {}), **arguments), data, engine

    return make


@pytest.fixture(scope="module")
def checkpoint(objects, project):
    """Checkpoint that `fit` writes, where anomalib's tests look for it."""
    model, data, engine = objects()
    engine.fit(model=model, datamodule=data)
    path = project / model.name / data.name / "dummy" / "v0" / "weights" / "lightning" / "model.ckpt"
    assert Path(engine.best_model_path) == path
    return path


def test_fit_leaves_a_small_checkpoint_without_the_frozen_weights(checkpoint):
    assert checkpoint.stat().st_size < 1e5
    kept = torch.load(checkpoint, weights_only=True)
    assert not [key for key in kept["state_dict"] if "visual" in key or "text" in key]
    assert kept["described_class"] == "dummy"


def test_fit_reads_no_item_and_therefore_no_label(objects, tmp_path, monkeypatch):
    def read(*_):
        raise LookupError

    monkeypatch.setattr(AnomalibDataset, "__getitem__", read)
    monkeypatch.setattr(OrderedDataset, "load", read)
    model, data, engine = objects()
    engine._cache.args["default_root_dir"] = tmp_path
    engine.fit(model=model, datamodule=data)
    assert list(tmp_path.rglob("model.ckpt"))
    with pytest.raises(LookupError):
        engine.test(model=model, datamodule=data)


@pytest.fixture(scope="module")
def expected(objects, tmp_path_factory):
    """Figures of a test without a checkpoint."""
    model, data, engine = objects(visualizer=False)
    engine._cache.args["default_root_dir"] = tmp_path_factory.mktemp("without")
    (figures,) = engine.test(model=model, datamodule=data)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["test", "train"])
def test_test_and_train_from_the_checkpoint_give_the_figures_of_a_test_without(objects, checkpoint, stage, expected):
    model, data, engine = objects(visualizer=False)
    (figures,) = getattr(engine, stage)(model=model, datamodule=data, ckpt_path=checkpoint)
    assert figures == pytest.approx(expected, abs=1e-5)
    assert len(figures) == 7


def test_validate_from_the_checkpoint_measures_nothing(objects, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data, engine = objects()
    engine._cache.args["default_root_dir"] = tmp_path
    assert not any(engine.validate(model=model, datamodule=data, ckpt_path=checkpoint))
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.slow
def test_predict_from_the_checkpoint_scores_every_image(objects, checkpoint):
    model, data, engine = objects(visualizer=False)
    batches = engine.predict(model=model, ckpt_path=checkpoint, datamodule=data)
    assert sum(len(batch.pred_score) for batch in batches) == 9
    assert all(torch.isfinite(batch.pred_score).all() for batch in batches)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(ExportType))
def test_export_from_the_checkpoint_works_or_gives_the_reason(objects, checkpoint, name, kind):
    if name in EXPORTED and kind != ExportType.TORCH:
        pytest.skip("test_export computes with these files")
    model, _, engine = objects()
    if name not in EXPORTED:
        with pytest.raises(ValueError, match=rf"^{model.name} cannot be exported with these settings: .*\.$"):
            engine.export(model=model, ckpt_path=checkpoint, export_type=kind)
    else:
        assert engine.export(model=model, ckpt_path=checkpoint, export_type=kind).stat().st_size > 0

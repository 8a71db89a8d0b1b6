"""DualImageCLIP inside anomalib's Engine, with a tiny CLIP so that every run is quick."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from traceback import clear_frames

import numpy as np
import pytest
import torch
from anomalib.data import Folder, PredictDataset
from anomalib.engine import Engine
from anomalib.models import Padim
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch.utils.data import DataLoader

from dualclip_lightning.models import DualImageCLIP
from dualclip_lightning.models.references.data import ordered_loader
from dualclip_lightning.pairing import OrderedDataset
from tests.engine_runs import metal_nut
from tests.towers import PATCH, SIZE, write_image, write_mvtec

SAME = {"abs": 1e-5}
IMAGE = {"image_AUROC", "image_F1Max", "image_AP"}
PIXEL = {"pixel_AUROC", "pixel_F1Max", "pixel_PRO", "pixel_AP"}


class Record(Callback):
    """Callback that records scores and maps by path, and whether validation ran."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.maps: dict[str, torch.Tensor] = {}
        self.validated = False

    def on_test_batch_end(self, _trainer, _module, _outputs, batch, *_):
        for path, score, score_map in zip(batch.image_path, batch.pred_score, batch.anomaly_map, strict=True):
            self.scores[Path(path).relative_to(Path(path).parents[2]).as_posix()] = float(score)
            self.maps[Path(path).name] = score_map

    on_predict_batch_end = on_test_batch_end

    def on_validation_batch_start(self, *_):
        self.validated = True


@pytest.fixture
def make(tiny_folder):
    """Function that makes a method with a tiny CLIP."""
    return lambda **arguments: DualImageCLIP(**{"pretrained": str(tiny_folder), "visualizer": False} | arguments)


@pytest.fixture
def engine(tmp_path):
    """Function that makes engines that write only below a temporary folder."""
    return lambda *callbacks, **arguments: Engine(
        accelerator="cpu", logger=False, default_root_dir=tmp_path / "results", callbacks=list(callbacks),
        enable_progress_bar=False, **arguments,
    )  # fmt: skip


@pytest.fixture
def test_scores(engine):
    """Function that runs a test and returns scores by path, and metrics."""

    def run(method, data) -> tuple[dict[str, float], dict[str, float]]:
        record = Record()
        (metrics,) = engine(record).test(method, datamodule=data)
        assert not record.validated
        return record.scores, metrics

    return run


def folder(root: Path, **arguments) -> Folder:
    """Datamodule with the same images, without masks."""
    return Folder(
        name="own", root=root / "metal_nut" / "test", normal_dir="good", abnormal_dir="scratch",
        normal_test_dir="good", val_split_mode="same_as_test", num_workers=0, **arguments,
    )  # fmt: skip


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (3, 0), (4, 0), (4, 2), (32, 0)])
def test_scores_do_not_depend_on_batch_size_or_workers(make, test_scores, mvtec_root, batch_size, workers):
    expected, metrics = test_scores(make(), metal_nut(mvtec_root, eval_batch_size=9))
    data = metal_nut(mvtec_root, eval_batch_size=batch_size, num_workers=workers)
    scores, again = test_scores(make(), data)
    assert len(scores) == 9
    assert scores == pytest.approx(expected, **SAME)
    assert metrics.keys() == IMAGE | PIXEL
    assert again == pytest.approx(metrics, abs=1e-3)


def test_a_logger_gets_the_metrics(make, mvtec_root, tmp_path):
    engine = Engine(
        accelerator="cpu", logger=CSVLogger(tmp_path, name="log", version=""), default_root_dir=tmp_path / "results",
        enable_progress_bar=False,
    )  # fmt: skip
    (metrics,) = engine.test(make(), datamodule=metal_nut(mvtec_root))
    (logged,) = csv.DictReader((tmp_path / "log" / "metrics.csv").open())
    assert {name: float(logged[name]) for name in metrics} == pytest.approx(metrics, **SAME)
    assert metrics.keys() == IMAGE | PIXEL


def test_scores_are_those_of_the_module_called_by_hand(make, engine, mvtec_root):
    method, record, data = make(class_name="metal nut"), Record(), metal_nut(mvtec_root, eval_batch_size=2)
    engine(record).test(method, datamodule=data)
    method.set_class_name("metal nut")
    view = ordered_loader(data.test_dataloader(), method.pre_processor, "nearest", method.references.arrange).dataset
    scoring = method.references.scoring[-1]
    for group in scoring.groups:
        images = torch.stack([method.pre_processor.transform(view.load(member).image) for member in group])
        by_hand = method.model(images)
        for member, score, score_map in zip(group, by_hand.pred_score, by_hand.anomaly_map, strict=True):
            path = Path(scoring.names[member])
            assert record.scores[f"test/{path.parent.name}/{path.name}"] == pytest.approx(float(score), **SAME)
            assert score_map.shape == (SIZE, SIZE)


def test_every_image_is_encoded_once(make, engine, mvtec_root):
    method, encoded = make(), []
    method.model.encoder.register_forward_hook(lambda _, args, __: encoded.append(len(args[0])))
    engine().test(method, datamodule=metal_nut(mvtec_root, eval_batch_size=2))
    assert sum(encoded) == 9


def test_pairs_depend_on_the_seed(make, test_scores, mvtec_root):
    first, same, other = (test_scores(make(seed=s), metal_nut(mvtec_root))[0] for s in (0, 0, 1))
    assert first == same
    assert first != pytest.approx(other, **SAME)


def test_labels_and_masks_change_no_score(make, test_scores, mvtec_root):
    expected, metrics = test_scores(make(), metal_nut(mvtec_root))
    data = metal_nut(mvtec_root)
    data.setup(TrainerFn.TESTING)
    samples = data.test_data.samples
    samples["label_index"] = 1 - samples.label_index
    samples["mask_path"] = next(path for path in samples.mask_path if path)
    scores, garbage = test_scores(make(), data)
    assert scores == pytest.approx(expected, **SAME)
    assert garbage["image_AUROC"] == pytest.approx(1 - metrics["image_AUROC"], abs=1e-5)


@pytest.mark.parametrize(("normal", "anomalous"), [(1, 0), (0, 1), (1, 1), (2, 1), (0, 3)])
def test_test_sets_of_1_2_and_3_images(make, test_scores, tmp_path, normal, anomalous, caplog):
    write_mvtec(tmp_path, "metal_nut", normal, anomalous)
    scores, metrics = test_scores(make(), metal_nut(tmp_path, eval_batch_size=2))
    count = normal + anomalous
    assert len(scores) == count
    assert all(0 <= score <= 1 for score in scores.values())
    assert (metrics.keys() >= IMAGE) == bool(normal and anomalous)
    assert ("cannot give" in caplog.text) == (count == 1)
    assert caplog.text.count("gets only its text score") == (count == 1)


def test_more_references_than_images_work_with_a_message(make, test_scores, tmp_path, caplog):
    write_mvtec(tmp_path, "metal_nut", normal=1, anomalous=2)
    scores, _ = test_scores(make(num_references=7), metal_nut(tmp_path))
    assert len(scores) == 3
    assert "3 image(s) cannot give 7 reference(s) each; there will be 2" in caplog.text


def test_without_masks_there_are_only_image_metrics(make, test_scores, mvtec_root, caplog):
    scores, metrics = test_scores(make(), folder(mvtec_root))
    assert len(scores) == 9
    assert metrics.keys() == IMAGE
    assert "pixel_PRO is left out" in caplog.text


@pytest.mark.slow
def test_the_category_is_the_class_name_unless_one_is_given(make, test_scores, mvtec_root, monkeypatch):
    told = []

    def spy(class_name, *given, **chosen):
        told.append(class_name)
        return prompt_ensemble(class_name, *given, **chosen)

    from dualclip_lightning.models.base import shell
    from dualclip_lightning.prompts import prompt_ensemble

    monkeypatch.setattr(shell, "prompt_ensemble", spy)
    by_category, _ = test_scores(make(), metal_nut(mvtec_root))
    assert told[-1] == "metal nut"
    by_words, _ = test_scores(make(class_name="metal nut"), metal_nut(mvtec_root))
    assert by_words == pytest.approx(by_category, **SAME)
    test_scores(make(class_name="steel_plate"), metal_nut(mvtec_root))
    assert told[-1] == "steel_plate"
    test_scores(make(), folder(mvtec_root))
    assert told[-1] == "object"


@pytest.mark.slow
def test_two_methods_may_use_one_datamodule_after_each_other(make, test_scores, mvtec_root):
    data = metal_nut(mvtec_root)
    first, _ = test_scores(make(), data)
    assert not isinstance(data.test_data, OrderedDataset)
    other, _ = test_scores(make(image_size=4 * PATCH), data)
    again, _ = test_scores(make(), data)
    assert again == pytest.approx(first, **SAME)
    assert other == pytest.approx(test_scores(make(image_size=4 * PATCH), metal_nut(mvtec_root))[0], **SAME)


def test_one_method_may_be_used_for_two_data_sets_after_each_other(make, test_scores, mvtec_root, tmp_path):
    write_mvtec(tmp_path, "screw", normal=2, anomalous=3)
    method = make()
    test_scores(method, metal_nut(mvtec_root))
    scores, metrics = test_scores(method, metal_nut(tmp_path, category="screw"))
    fresh, expected = test_scores(make(), metal_nut(tmp_path, category="screw"))
    assert scores == pytest.approx(fresh, **SAME)
    assert metrics == pytest.approx(expected, **SAME)


def test_a_run_that_fails_does_not_affect_the_datamodule_for_other_methods(make, test_scores, tmp_path):
    write_mvtec(tmp_path, "metal_nut", normal=3, anomalous=3)
    data, victim = metal_nut(tmp_path), tmp_path / "metal_nut" / "test" / "good" / "001.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"good/001\.png.*Repair or remove"):
        test_scores(make(), data)
    victim.write_bytes(whole)
    larger, _ = test_scores(make(image_size=4 * PATCH), data)
    assert larger == pytest.approx(test_scores(make(image_size=4 * PATCH), metal_nut(tmp_path))[0], **SAME)
    assert not isinstance(data.test_data, OrderedDataset)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_file_stops_a_test_and_is_named(make, engine, tmp_path, workers):
    write_mvtec(tmp_path, "metal_nut", normal=3, anomalous=3)
    victim = tmp_path / "metal_nut" / "test" / "scratch" / "002.png"
    victim.write_bytes(victim.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"scratch/002\.png.*Repair or remove") as caught:
        engine().test(make(), datamodule=metal_nut(tmp_path, num_workers=workers))
    clear_frames(caught.tb)  # or PyTorch waits 5 seconds for each worker when it is collected as garbage


@pytest.fixture
def photos(tmp_path):
    """Folder of 5 images to predict."""
    for i in range(5):
        write_image(tmp_path / "photos" / f"{i}.png", seed=i, size=(40 + i, 50))
    return tmp_path / "photos"


def predict(engine, method, **arguments) -> dict[str, float]:
    batches = engine().predict(method, **arguments)
    return {
        Path(path).name: float(score)
        for batch in batches
        for path, score in zip(batch.image_path, batch.pred_score, strict=True)
    }


def test_predicting_a_folder_scores_every_image_and_pairs_over_the_folder(make, engine, photos):
    scores = predict(engine, make(), data_path=photos)
    assert sorted(scores) == [f"{i}.png" for i in range(5)]
    in_batches = DataLoader(PredictDataset(photos), batch_size=2, collate_fn=PredictDataset(photos).collate_fn)
    assert predict(engine, make(), dataloaders=in_batches) == pytest.approx(scores, **SAME)
    assert scores != pytest.approx(predict(engine, make(alpha=1), data_path=photos), **SAME)


def test_predicting_continues_without_files_that_are_not_images_and_lists_them(make, engine, photos, caplog):
    expected = predict(engine, make(), data_path=photos)
    (photos / "7.png").write_text("plain text")
    (photos / "8.png").write_bytes((photos / "0.png").read_bytes()[:150])
    # As in `dualclip predict`, pairs are drawn before broken files are found, so there are other pairs than without.
    assert predict(engine, make(), data_path=photos).keys() == expected.keys()
    alone = predict(engine, make(alpha=1), data_path=photos)
    for name in ("7.png", "8.png"):
        (photos / name).unlink()
    assert alone == pytest.approx(predict(engine, make(alpha=1), data_path=photos), **SAME)
    assert "2 image(s) cannot be read" in caplog.text
    assert "7.png" in caplog.text
    assert "8.png" in caplog.text


def test_predicting_a_folder_without_a_readable_image_is_an_error(make, engine, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_text("plain text")
    with pytest.raises(ValueError, match=r"None of the 1 image\(s\) can be read"):
        engine().predict(make(), data_path=tmp_path / "broken")


def test_predicting_one_file_is_text_only(make, engine, photos, caplog):
    score = predict(engine, make(), data_path=photos / "3.png")
    assert score == pytest.approx(predict(engine, make(alpha=1), data_path=photos / "3.png"), **SAME)
    assert "only its text score" in caplog.text


def test_predicting_a_datamodule_gives_the_scores_of_its_test(make, engine, test_scores, mvtec_root):
    expected, _ = test_scores(make(), metal_nut(mvtec_root))
    record = Record()
    engine(record).predict(make(), datamodule=metal_nut(mvtec_root))
    assert record.scores == pytest.approx(expected, **SAME)


def ramp(mode: str, size: tuple[int, int] = (30, 44)) -> Image.Image:
    values = np.linspace(0, 255, size[0] * size[1]).reshape(size).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(values.astype(np.uint16) * 257)
    return Image.fromarray(values).convert(mode)


def test_grey_rgba_16_bit_palette_and_single_pixel_images_are_scored_alike(make, engine, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    for mode in ("L", "RGB", "RGBA", "LA", "P", "I;16"):
        ramp(mode).save(folder / f"{mode.replace(';', '')}.png")
    Image.new("RGB", (1, 1), "red").save(folder / "pixel.png")
    scores = predict(engine, make(alpha=1), data_path=folder)
    assert len(scores) == 7
    assert all(0 <= score <= 1 for score in scores.values())
    for kind in ("L", "RGBA", "LA", "P", "I16"):
        assert scores[f"{kind}.png"] == pytest.approx(scores["RGB.png"], abs=1e-4), kind


def test_16_bit_images_are_not_clipped_in_a_test(make, test_scores, tmp_path):
    write_mvtec(tmp_path / "deep", "metal_nut", normal=2, anomalous=2)
    write_mvtec(tmp_path / "plain", "metal_nut", normal=2, anomalous=2)
    for path in (tmp_path / "deep" / "metal_nut" / "test").rglob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(grey).save(tmp_path / "plain" / path.relative_to(tmp_path / "deep"))
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    expected, _ = test_scores(make(), metal_nut(tmp_path / "plain"))
    scores, _ = test_scores(make(), metal_nut(tmp_path / "deep"))
    assert scores == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def references(tmp_path):
    for i in range(3):
        write_image(tmp_path / "references" / f"{i}.png", seed=50 + i)
    return tmp_path / "references"


@pytest.mark.slow
def test_a_reference_folder_replaces_the_pairs(make, test_scores, mvtec_root, references):
    scores, _ = test_scores(make(reference_dir=references), metal_nut(mvtec_root))
    assert len(scores) == 9
    assert scores == pytest.approx(
        test_scores(make(reference_dir=references, seed=7), metal_nut(mvtec_root))[0], **SAME
    )
    assert scores != pytest.approx(test_scores(make(), metal_nut(mvtec_root))[0], **SAME)
    one, _ = test_scores(make(reference_dir=str(references)), metal_nut(mvtec_root, eval_batch_size=1))
    assert one == pytest.approx(scores, **SAME)


def test_with_a_reference_folder_bad_and_deep_files_are_handled_as_without(make, engine, references, photos, caplog):
    grey = np.asarray(Image.open(photos / "0.png").convert("L"))
    Image.fromarray(grey).save(photos / "8bit.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(photos / "16bit.png")
    (photos / "broken.png").write_text("plain text")
    scores = predict(engine, make(reference_dir=references), data_path=photos)
    assert len(scores) == 7
    assert scores["16bit.png"] == pytest.approx(scores["8bit.png"], abs=1e-4)
    assert "broken.png" in caplog.text


def test_an_image_in_the_reference_folder_is_not_compared_with_itself(make, engine, references):
    scores = predict(engine, make(reference_dir=references, alpha=0, class_weight=0), data_path=references)
    assert len(scores) == 3
    assert min(scores.values()) > 0.01


def test_broken_files_of_the_reference_folder_are_named_and_left_out(make, engine, references, photos, caplog):
    expected = predict(engine, make(reference_dir=references), data_path=photos)
    (references / "broken.png").write_text("plain text")
    assert predict(engine, make(reference_dir=references), data_path=photos) == pytest.approx(expected, **SAME)
    assert "broken.png" in caplog.text


@pytest.mark.parametrize("content", ["missing", "empty", "a text file", "a file"])
def test_a_reference_folder_without_an_image_is_an_error_that_names_it(make, engine, photos, tmp_path, content):
    folder = tmp_path / "nothing"
    if content == "a file":
        folder.write_text("")
    elif content != "missing":
        folder.mkdir()
    if content == "a text file":
        (folder / "note.txt").write_text("")
    with pytest.raises(ValueError, match=r"reference_dir.*nothing"):
        engine().predict(make(reference_dir=folder), data_path=photos)


@pytest.mark.slow
def test_a_checkpoint_is_small_and_gives_the_same_scores(make, engine, mvtec_root, tmp_path):
    record, again = Record(), Record()
    running = engine(record)
    running.test(make(seed=5), datamodule=metal_nut(mvtec_root))
    path = tmp_path / "method.ckpt"
    running.trainer.save_checkpoint(path)
    assert path.stat().st_size < 100_000
    state = torch.load(path, weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith("model.")]
    engine(again).test(make(seed=5), datamodule=metal_nut(mvtec_root), ckpt_path=path)
    assert again.scores == pytest.approx(record.scores, **SAME)
    loaded, third = DualImageCLIP.load_from_checkpoint(path, weights_only=True), Record()
    engine(third).test(loaded, datamodule=metal_nut(mvtec_root))
    assert third.scores == pytest.approx(record.scores, **SAME)


def test_maps_come_at_the_size_the_model_sees_whatever_the_size_of_the_images(make, engine, mvtec_root):
    record = Record()
    engine(record).test(make(image_size=(2 * PATCH, 4 * PATCH)), datamodule=metal_nut(mvtec_root))
    assert {tuple(score_map.shape) for score_map in record.maps.values()} == {(2 * PATCH, 4 * PATCH)}


def test_drawing_pairs_and_making_anchors_do_not_change_the_global_generators(make, mvtec_root):
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    method = make()
    loader = DataLoader(PredictDataset(mvtec_root))
    ordered_loader(loader, method.pre_processor, "nearest", method.references.arrange, skip_unreadable=True)
    method.set_class_name("screw")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]  # noqa: NPY002


@pytest.mark.slow
def test_another_model_of_anomalib_runs_on_the_datamodule_afterwards(make, test_scores, engine, mvtec_root):
    data = metal_nut(mvtec_root, train_batch_size=1)
    test_scores(make(), data)
    small = Padim.configure_pre_processor((64, 64))
    padim = Padim(
        backbone="resnet18", layers=["layer1"], pre_trained=False, n_features=4, visualizer=False, pre_processor=small
    )
    (metrics,) = engine(max_epochs=1).train(padim, datamodule=data)
    assert 0 <= metrics["image_AUROC"] <= 1


@pytest.mark.slow
def test_pictures_are_drawn_unless_switched_off(make, engine, mvtec_root, tmp_path):
    engine().test(make(), datamodule=metal_nut(mvtec_root))
    assert not list(tmp_path.rglob("*.png"))
    engine().test(make(visualizer=True), datamodule=metal_nut(mvtec_root))
    assert len(list((tmp_path / "results").rglob("*.png"))) == 9


def test_mixed_precision_gives_nearly_the_scores_of_single_precision(make, engine, mvtec_root):
    found = []
    for precision in ("32-true", "bf16-mixed"):
        record = Record()
        engine(record, precision=precision).test(make(), datamodule=metal_nut(mvtec_root))
        found.append(record.scores)
    single, mixed = found
    assert mixed == pytest.approx(single, abs=0.01)
    assert mixed != single


def test_references_are_encoded_in_the_precision_of_the_images_they_meet(make, engine, mvtec_root, references):
    model = make(reference_dir=references)
    engine(precision="bf16-mixed").test(model, datamodule=metal_nut(mvtec_root))
    assert model.model.bank.class_embeddings.dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_a_precision_that_images_do_not_have_is_refused(precision, make, engine, mvtec_root):
    with pytest.raises(ValueError, match="Set 16-mixed or bf16-mixed"):
        engine(precision=precision).test(make(), datamodule=metal_nut(mvtec_root))


@pytest.mark.parametrize(
    ("order", "versions"),
    [(("test", "train", "test"), 3), (("train", "test", "train"), 3), (("predict", "fit", "predict"), 2),
     (("test", "predict", "test"), 3)],
)  # fmt: skip
def test_every_run_has_its_own_version_except_the_first_after_a_fit(
    make, engine, mvtec_root, tmp_path, order, versions
):
    for stage in order:
        getattr(engine(), stage)(make(), datamodule=metal_nut(mvtec_root))
    results = tmp_path / "results" / "DualImageCLIP" / "MVTecAD" / "metal_nut"
    assert (results / "latest").is_symlink()
    assert (results / "latest" / "provenance.json").is_file()
    assert sorted(path.name for path in results.iterdir()) == ["latest", *(f"v{number}" for number in range(versions))]
    assert all((version / "weights" / "lightning" / "model.ckpt").is_file() for version in results.glob("v*"))


@pytest.mark.slow
def test_a_run_from_a_checkpoint_writes_into_its_folder_and_one_without_into_another(
    make, engine, mvtec_root, tmp_path
):
    data = metal_nut(mvtec_root)
    engine().train(make(visualizer=True), datamodule=data)
    results = tmp_path / "results" / "DualImageCLIP" / "MVTecAD" / "metal_nut"
    drawn = sorted(path.relative_to(results / "v0") for path in (results / "v0").rglob("*.png"))
    record = (results / "v0" / "provenance.json").read_text()
    engine().predict(make(visualizer=True, seed=5), datamodule=data)
    assert sorted(path.relative_to(results / "v1") for path in (results / "v1").rglob("*.png")) == drawn
    assert (results / "v0" / "provenance.json").read_text() == record
    engine().test(make(seed=7), datamodule=data, ckpt_path=results / "v1" / "weights" / "lightning" / "model.ckpt")
    assert json.loads((results / "v1" / "provenance.json").read_text())["parameters"]["seed"] == 7
    assert not (results / "v2").exists()


def test_one_object_overwrites_its_own_results(make, engine, mvtec_root, tmp_path):
    method = make()
    for _ in range(2):
        engine().test(method, datamodule=metal_nut(mvtec_root))
    results = tmp_path / "results" / "DualImageCLIP" / "MVTecAD" / "metal_nut"
    assert sorted(path.name for path in results.iterdir()) == ["latest", "v0"]


@pytest.mark.slow
def test_the_class_is_that_of_an_argument_then_of_the_data_then_of_the_checkpoint(make, engine, mvtec_root, photos):
    data = metal_nut(mvtec_root)
    fitted = engine()
    fitted.fit(make(), datamodule=data)
    given = {"ckpt_path": fitted.best_model_path}
    method = make()
    engine().predict(method, data_path=photos, **given)
    assert method.described_class == "metal nut"
    method = make(class_name="screw")
    engine().predict(method, data_path=photos, **given)
    assert method.described_class == "screw"
    write_mvtec(photos, "carpet", normal=2, anomalous=2)
    method = make()
    engine().test(method, datamodule=metal_nut(photos, category="carpet"), **given)
    assert method.described_class == "carpet"
    loaded = DualImageCLIP.load_from_checkpoint(given["ckpt_path"])
    assert loaded._chosen_words() == "metal nut"


def test_a_folder_that_an_earlier_test_left_becomes_a_version(make, engine, mvtec_root, tmp_path):
    results = tmp_path / "results" / "DualImageCLIP" / "MVTecAD" / "metal_nut"
    (results / "latest").mkdir(parents=True)
    (results / "latest" / "note.txt").write_text("mine")
    engine().test(make(), datamodule=metal_nut(mvtec_root))
    engine().train(make(), datamodule=metal_nut(mvtec_root))
    assert (results / "v0" / "note.txt").read_text() == "mine"
    assert (results / "latest").resolve() == results / "v1"


def test_a_folder_named_latest_that_the_user_created_stays_a_folder(make, mvtec_root, tmp_path):
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path / "latest", enable_progress_bar=False)
    trainer.test(make(), datamodule=metal_nut(mvtec_root))
    assert not (tmp_path / "latest").is_symlink()
    assert (tmp_path / "latest" / "provenance.json").is_file()

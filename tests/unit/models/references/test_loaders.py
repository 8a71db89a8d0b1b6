"""Every door through which Lightning takes data gives the scores of the same images through anomalib's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from anomalib.data import Folder, ImageBatch, ImageItem, PredictDataset
from anomalib.engine import Engine
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
)

from dualclip_lightning.models import ClipAD, ClipZeroShot, DualImageCLIP, MuSc, WinCLIP
from tests.towers import write_image

SAME = {"abs": 1e-5}
METHODS = {
    "pairs": (DualImageCLIP, {}),
    "whole set": (MuSc, {}),
    "each by itself": (ClipZeroShot, {}),
    "scaled over the set": (ClipAD, {"normalize_scores": True}),
}


class Record(Callback):
    """Scores by file name, in the order in which they came, and how many were scored at once."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.batches: list[int] = []

    def on_test_batch_end(self, _trainer, _module, _outputs, batch, *_):
        self.batches.append(len(batch.image))
        names = batch.image_path or map(str, range(len(self.scores), len(self.scores) + len(batch.image)))
        self.scores |= {Path(name).name: float(score) for name, score in zip(names, batch.pred_score, strict=True)}

    on_predict_batch_end = on_validation_batch_end = on_test_batch_end


@pytest.fixture
def photos(tmp_path) -> Path:
    """Seven images of several sizes, which collation without a view would squash."""
    for i in range(7):
        write_image(tmp_path / "photos" / f"{i}.png", seed=i, size=(40 + i, 50))
    return tmp_path / "photos"


@pytest.fixture(params=METHODS.values(), ids=METHODS)
def make(request, tiny_folder):
    kind, settings = request.param
    return lambda **arguments: kind(
        pretrained=str(tiny_folder), class_name="screw", visualizer=False, evaluator=False, **settings | arguments
    )


@pytest.fixture
def pairs(tiny_folder):
    return lambda **arguments: DualImageCLIP(
        pretrained=str(tiny_folder), class_name="screw", visualizer=False, evaluator=False, **arguments
    )


@pytest.fixture
def run(tmp_path):
    """Runs a method through Lightning's Trainer or anomalib's Engine."""

    def call(method, stage="predict", door=Engine, **data) -> Record:
        record = Record()
        runner = door(
            accelerator="cpu", logger=False, default_root_dir=tmp_path / "results", callbacks=[record],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        getattr(runner, stage)(method, **data)
        return record

    return call


def loader(dataset, **arguments) -> DataLoader:
    return DataLoader(dataset, **{"batch_size": 2, "collate_fn": ImageBatch.collate} | arguments)


class Own(LightningDataModule):
    """A user's datamodule, which anomalib knows nothing of."""

    name, category = "own", "screw"

    def __init__(self, dataset, batch_size: int) -> None:
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size

    def test_dataloader(self):
        return loader(self.dataset, batch_size=self.batch_size)

    def predict_dataloader(self):
        return [self.test_dataloader()]


class Nameless(Dataset):
    """Items that know their paths, in a data set that does not tell them."""

    def __init__(self, folder: Path, paths: bool = True) -> None:
        self.items = PredictDataset(folder)
        self.paths = paths

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> ImageItem:
        item = self.items[index]
        return item if self.paths else ImageItem(image=item.image)


class Stream(IterableDataset):
    def __iter__(self):
        yield ImageItem(image=torch.zeros(3, 9, 9))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_a_datamodule_of_ones_own_gets_the_scores_of_the_folder(make, run, photos, stage, batch_size):
    expected = run(make(), data_path=photos).scores
    assert len(expected) == 7
    data = Own(PredictDataset(photos), batch_size)
    assert run(make(), stage, Trainer, datamodule=data).scores == pytest.approx(expected, **SAME)
    assert run(make(), stage, Engine, datamodule=data).scores == pytest.approx(expected, **SAME)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_validation_by_the_trainer_gives_the_scores_of_a_test(make, run, photos, batch_size):
    expected = run(make(), data_path=photos).scores
    given = loader(PredictDataset(photos), batch_size=batch_size)
    assert run(make(), "validate", Trainer, dataloaders=given).scores == pytest.approx(expected, **SAME)


@pytest.mark.parametrize(
    ("method", "arguments"), [(DualImageCLIP, {}), (WinCLIP, {"k_shot": 2})], ids=["DualImageCLIP", "WinCLIP"]
)
def test_a_validation_by_the_trainer_compares_with_the_reference_folder(method, arguments, tiny_folder, run, photos):
    def made():
        folder = {"pretrained": str(tiny_folder), "reference_dir": photos, "visualizer": False, "evaluator": False}
        return method(class_name="screw", **folder, **arguments)

    expected = run(made(), data_path=photos).scores
    found = run(made(), "validate", Trainer, dataloaders=loader(PredictDataset(photos)))
    assert found.scores == pytest.approx(expected, **SAME)


def test_untrained_layers_are_refused_in_a_validation_too(tiny_folder, run, photos):
    method = ClipAD(pretrained=str(tiny_folder), variant="sdp+", visualizer=False, evaluator=False)
    with pytest.raises(ValueError, match="train"):
        run(method, "validate", Trainer, dataloaders=loader(PredictDataset(photos)))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(
    "dataset", [Nameless, lambda photos: ConcatDataset([_part(photos, 0, 3), _part(photos, 3, 7)])]
)
def test_data_sets_that_do_not_name_their_images_get_the_same_scores(make, run, photos, dataset, batch_size):
    expected = run(make(), data_path=photos).scores
    given = loader(dataset(photos), batch_size=batch_size)
    assert run(make(), "test", Trainer, dataloaders=given).scores == pytest.approx(expected, **SAME)


def _part(photos: Path, start: int, end: int) -> Subset:
    return Subset(PredictDataset(photos), range(start, end))


def test_images_without_a_path_are_scored_by_themselves_or_refused(make, run, photos):
    given = loader(Nameless(photos, paths=False), batch_size=3)
    method = make()
    if method.kind == "inductive" or isinstance(method, ClipAD):
        expected = run(make(), data_path=photos).scores
        found = run(method, "test", Trainer, dataloaders=given).scores
        assert list(found.values()) == pytest.approx(list(expected.values()), **SAME)
    else:
        with pytest.raises(ValueError, match=r"Item 0 .* has no image_path.*reference_dir"):
            run(method, "test", Trainer, dataloaders=given)


CHOICES = {
    "sampler": lambda: {"sampler": [5, 0, 3, 6]},
    "random sampler": lambda: {"sampler": SubsetRandomSampler([0, 3, 5, 6])},
    "batch sampler": lambda: {"batch_sampler": BatchSampler([5, 0, 3, 6], 3, drop_last=False), "batch_size": 1},
    "own batches": lambda: {"batch_sampler": [[5], [0, 3, 6]], "batch_size": 1},
}


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_the_images_that_a_sampler_chooses_are_those_that_are_scored(make, run, photos, tmp_path, choice, stage):
    (tmp_path / "chosen").mkdir()
    for i in (0, 3, 5, 6):
        os.link(photos / f"{i}.png", tmp_path / "chosen" / f"{i}.png")
    expected = run(make(), data_path=tmp_path / "chosen").scores
    found = run(make(), stage, Trainer, dataloaders=loader(PredictDataset(photos), **choice()))
    assert found.scores == pytest.approx(expected, **SAME)
    assert run(make(), stage, Trainer, dataloaders=loader(Subset(PredictDataset(photos), [0, 3, 5, 6]))).scores == (
        pytest.approx(expected, **SAME)
    )


@pytest.mark.parametrize("stage", ["test", "predict"])
def test_the_last_images_are_dropped_where_that_is_asked(make, run, photos, stage):
    found = run(make(), stage, Trainer, dataloaders=loader(PredictDataset(photos), batch_size=3, drop_last=True))
    assert sorted(found.scores) == [f"{i}.png" for i in range(6)]
    assert found.batches == [3, 3]


def test_shuffling_changes_no_score(make, run, photos):
    expected = run(make(), data_path=photos).scores
    shuffled = loader(PredictDataset(photos), shuffle=True, generator=torch.Generator().manual_seed(0))
    assert run(make(), dataloaders=shuffled).scores == pytest.approx(expected, **SAME)


def test_a_method_without_pairs_keeps_the_order_of_the_sampler(tiny_folder, run, photos):
    method = ClipZeroShot(pretrained=str(tiny_folder), class_name="screw", visualizer=False, evaluator=False)
    found = run(method, dataloaders=loader(PredictDataset(photos), sampler=[5, 0, 3, 6]))
    assert list(found.scores) == ["5.png", "0.png", "3.png", "6.png"]


def test_broken_images_are_left_out_of_those_that_a_sampler_chooses(pairs, run, photos, caplog):
    (photos / "3.png").write_text("plain text")
    found = run(pairs(), dataloaders=loader(PredictDataset(photos), sampler=[5, 0, 3, 6]))
    assert sorted(found.scores) == ["0.png", "5.png", "6.png"]
    assert "3.png" in caplog.text


@pytest.mark.parametrize(
    "collection",
    [
        lambda a, b: [a, b],
        lambda a, b: {"first": a, "second": b},
        lambda a, b: [[a], b],
        lambda a, b: CombinedLoader({"first": a, "second": b}, "sequential"),
    ],
)
@pytest.mark.parametrize("stage", ["test", "predict"])
def test_several_loaders_are_several_sets(make, run, photos, collection, stage):
    halves = [_part(photos, 0, 3), _part(photos, 3, 7)]
    expected = {}
    for half in halves:
        expected |= run(make(), dataloaders=loader(half, batch_size=4)).scores
    given = collection(*(loader(half, batch_size=1) for half in halves))
    assert run(make(), stage, Trainer, dataloaders=given).scores == pytest.approx(expected, **SAME)


REFUSED = {
    "no loader": (lambda _: [ImageBatch(image=torch.zeros(1, 3, 9, 9))], TypeError, "Expected torch's DataLoader"),
    "another class": (type("Mine", (DataLoader,), {}), TypeError, r"DataLoader.*Mine"),
    "iterable": (lambda _: loader(Stream()), TypeError, r"IterableDataset.*map-style"),
    "no batches": (lambda data: DataLoader(data, batch_size=None), ValueError, "Set batch_size"),
    "twice": (lambda data: loader(data, sampler=[0, 1, 1]), ValueError, "image 1 .* more than once"),
    "endless": (lambda data: loader(data, sampler=Endless()), ValueError, "image 0 .* more than once"),
    "none": (lambda data: loader(data, batch_size=9, drop_last=True), ValueError, r"none of 7 .*drop_last"),
    "same path twice": (lambda data: loader(ConcatDataset([data, data])), ValueError, r"0\.png' is there 2 times"),
    "distributed": (lambda data: loader(data, sampler=DistributedSampler(data, 2, 0)), TypeError, "Leave the Distr"),
}


class Endless:
    def __iter__(self):
        while True:
            yield 0

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(("given", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused(pairs, run, photos, given, error, message):
    with pytest.raises(error, match=message):
        run(pairs(), "test", Trainer, dataloaders=given(PredictDataset(photos)))


def test_a_datamodule_of_anomalibs_with_loaders_of_its_own_is_heard(pairs, run, photos):
    class Chosen(Folder):
        def predict_dataloader(self):
            return loader(self.test_data, sampler=[1, 2])

    data = Chosen("own", normal_dir=".", root=photos, normal_test_dir=".", val_split_mode="none", num_workers=0)
    assert sorted(run(pairs(), datamodule=data).scores) == ["1.png", "2.png"]

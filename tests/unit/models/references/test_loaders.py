"""Every way to pass data to Lightning gives the same scores as passing the images to anomalib's Engine."""

from __future__ import annotations

import os
import shutil
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
from dualclip_lightning.models.base import Kind
from tests.towers import write_image

SAME = {"abs": 1e-5}
METHODS = {
    "pairs": (DualImageCLIP, {}),
    "whole set": (MuSc, {}),
    "each by itself": (ClipZeroShot, {}),
    "scaled over the set": (ClipAD, {"normalize_scores": True}),
}


class Record(Callback):
    """Callback that records scores by file name, in their order, and the sizes of batches."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.batches: list[int] = []

    def on_test_batch_end(self, _trainer, _module, _outputs, batch, *_):
        self.batches.append(len(batch.image))
        names = batch.image_path or map(str, range(len(self.scores), len(self.scores) + len(batch.image)))
        self.scores |= {Path(name).name: float(score) for name, score in zip(names, batch.pred_score, strict=True)}

    on_predict_batch_end = on_validation_batch_end = on_test_batch_end


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Folder of seven images of several sizes, which collation without a view would squash."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(7):
        write_image(folder / f"{i}.png", seed=i, size=(40 + i, 50))
    return folder


@pytest.fixture(scope="module")
def chosen(photos, tmp_path_factory) -> Path:
    """Folder with the images that `CHOICES` selects."""
    folder = tmp_path_factory.mktemp("chosen")
    for i in (0, 3, 5, 6):
        os.link(photos / f"{i}.png", folder / f"{i}.png")
    return folder


@pytest.fixture(params=METHODS.values(), ids=METHODS, scope="module")
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function that runs a method through Lightning's Trainer or anomalib's Engine."""

    def call(method, stage="predict", door=Engine, **data) -> Record:
        record = Record()
        runner = door(
            accelerator="cpu", logger=False, default_root_dir=tmp_path_factory.mktemp("results"), callbacks=[record],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        getattr(runner, stage)(method, **data)
        return record

    return call


@pytest.fixture(scope="module")
def expected(make, run, photos) -> dict[str, float]:
    """Scores of the folder when its path is passed to anomalib's Engine."""
    return run(make(), data_path=photos).scores


@pytest.fixture(scope="module")
def expected_of_chosen(make, run, chosen) -> dict[str, float]:
    """Scores of the folder with only the chosen images."""
    return run(make(), data_path=chosen).scores


@pytest.fixture(scope="module")
def expected_of_halves(make, run, photos) -> dict[str, float]:
    """Scores of two separate sets, of three and of four images."""
    first, second = (run(make(), dataloaders=loader(half, batch_size=4)).scores for half in halves(photos))
    return first | second


def loader(dataset, **arguments) -> DataLoader:
    return DataLoader(dataset, **{"batch_size": 2, "collate_fn": ImageBatch.collate} | arguments)


class Own(LightningDataModule):
    """A datamodule written by a user, which does not derive from anomalib's."""

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
    """A data set whose items have paths, but which does not list them itself."""

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


@pytest.mark.parametrize(("stage", "batch_size", "door"), [("test", 1, Engine), ("predict", 3, Trainer)])
def test_a_custom_datamodule_gets_the_scores_of_the_folder(make, run, photos, expected, stage, batch_size, door):
    assert len(expected) == 7
    data = Own(PredictDataset(photos), batch_size)
    assert run(make(), stage, door, datamodule=data).scores == pytest.approx(expected, **SAME)


def test_a_validation_by_the_trainer_gives_the_scores_of_a_test(make, run, photos, expected):
    given = loader(PredictDataset(photos), batch_size=3)
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


@pytest.mark.parametrize(("dataset", "batch_size"), [(Nameless, 1), (lambda photos: ConcatDataset(halves(photos)), 3)])
def test_data_sets_that_do_not_name_their_images_get_the_same_scores(make, run, photos, expected, dataset, batch_size):
    given = loader(dataset(photos), batch_size=batch_size)
    assert run(make(), "test", Trainer, dataloaders=given).scores == pytest.approx(expected, **SAME)


def halves(photos: Path) -> list[Subset]:
    return [Subset(PredictDataset(photos), indices) for indices in (range(3), range(3, 7))]


def test_images_without_a_path_are_scored_by_themselves_or_refused(make, run, photos, expected):
    given = loader(Nameless(photos, paths=False), batch_size=3)
    method = make()
    if method.kind == Kind.INDUCTIVE or isinstance(method, ClipAD):
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


def test_the_images_that_a_sampler_chooses_are_those_that_are_scored(make, run, photos, expected_of_chosen):
    found = run(make(), "test", Trainer, dataloaders=loader(PredictDataset(photos), **CHOICES["own batches"]()))
    assert found.scores == pytest.approx(expected_of_chosen, **SAME)


def test_every_kind_of_sampler_chooses(pairs, run, photos, chosen):
    expected = run(pairs(), data_path=chosen).scores
    for choice in CHOICES.values():
        found = run(pairs(), "test", Trainer, dataloaders=loader(PredictDataset(photos), **choice()))
        assert found.scores == pytest.approx(expected, **SAME)


def test_a_prediction_scores_the_images_that_a_sampler_chooses(make, run, photos, expected_of_chosen):
    found = run(make(), "predict", Trainer, dataloaders=loader(PredictDataset(photos), sampler=[5, 0, 3, 6]))
    assert found.scores == pytest.approx(expected_of_chosen, **SAME)


def test_a_subset_gets_the_scores_of_a_folder_that_has_no_more(make, run, photos, expected_of_chosen):
    subset = Subset(PredictDataset(photos), [0, 3, 5, 6])
    assert run(make(), "predict", Trainer, dataloaders=loader(subset)).scores == pytest.approx(
        expected_of_chosen, **SAME
    )


def test_drop_last_drops_the_last_images(make, run, photos):
    found = run(make(), "test", Trainer, dataloaders=loader(PredictDataset(photos), batch_size=3, drop_last=True))
    assert sorted(found.scores) == [f"{i}.png" for i in range(6)]
    assert found.batches == [3, 3]


def test_shuffling_changes_no_score(make, run, photos, expected):
    shuffled = loader(PredictDataset(photos), shuffle=True, generator=torch.Generator().manual_seed(0))
    assert run(make(), dataloaders=shuffled).scores == pytest.approx(expected, **SAME)


def test_a_method_without_pairs_keeps_the_order_of_the_sampler(tiny_folder, run, photos):
    method = ClipZeroShot(pretrained=str(tiny_folder), class_name="screw", visualizer=False, evaluator=False)
    found = run(method, dataloaders=loader(PredictDataset(photos), sampler=[5, 0, 3, 6]))
    assert list(found.scores) == ["5.png", "0.png", "3.png", "6.png"]


def test_broken_images_are_left_out_of_those_that_a_sampler_chooses(pairs, run, photos, tmp_path, caplog):
    mine = Path(shutil.copytree(photos, tmp_path / "mine"))
    (mine / "3.png").write_text("plain text")
    found = run(pairs(), dataloaders=loader(PredictDataset(mine), sampler=[5, 0, 3, 6]))
    assert sorted(found.scores) == ["0.png", "5.png", "6.png"]
    assert "3.png" in caplog.text


def test_several_loaders_are_several_sets(make, run, photos, expected_of_halves):
    given = [loader(half, batch_size=1) for half in halves(photos)]
    found = run(make(), "test", Trainer, dataloaders=given)
    assert found.scores == pytest.approx(expected_of_halves, **SAME)


def test_every_collection_of_loaders_is_several_sets(pairs, run, photos):
    first, second = (loader(half, batch_size=1) for half in halves(photos))
    expected = run(pairs(), "test", Trainer, dataloaders=[first, second]).scores  # the test above
    for given in (
        {"first": first, "second": second},
        [[first], second],
        CombinedLoader({"first": first, "second": second}, "sequential"),
    ):
        assert run(pairs(), "test", Trainer, dataloaders=given).scores == pytest.approx(expected, **SAME)


def test_a_prediction_takes_several_loaders_for_several_sets(make, run, photos, expected_of_halves):
    given = [loader(half, batch_size=1) for half in halves(photos)]
    found = run(make(), "predict", Trainer, dataloaders=given)
    assert found.scores == pytest.approx(expected_of_halves, **SAME)


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
def test_unsupported_loader_settings_are_refused(pairs, run, photos, given, error, message):
    with pytest.raises(error, match=message):
        run(pairs(), "test", Trainer, dataloaders=given(PredictDataset(photos)))


def test_custom_loaders_of_an_anomalib_datamodule_are_used(pairs, run, photos):
    class Chosen(Folder):
        def predict_dataloader(self):
            return loader(self.test_data, sampler=[1, 2])

    data = Chosen("own", normal_dir=".", root=photos, normal_test_dir=".", val_split_mode="none", num_workers=0)
    assert sorted(run(pairs(), datamodule=data).scores) == ["1.png", "2.png"]

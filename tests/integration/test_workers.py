"""Data loaders with worker processes give the same order, pixels and scores as those without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import Identity

from dualclip_lightning.models import DualImageCLIP, MuSc
from dualclip_lightning.pairing import OrderedDataset
from tests.hostile_images import BROKEN, write_corpus
from tests.towers import write_image


@pytest.fixture
def photos(tmp_path) -> Path:
    """Folder of seven images of several sizes."""
    for i in range(7):
        write_image(tmp_path / "photos" / f"{i}.png", seed=i, size=(40 + i, 50))
    return tmp_path / "photos"


@pytest.fixture
def scores(tmp_path, tiny_folder):
    """Function that returns the scores of a folder by path, read with a number of workers."""

    def predict(method, folder: Path, workers: int) -> dict[str, float]:
        model = method(pretrained=str(tiny_folder), class_name="screw", visualizer=False)
        engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "out", enable_progress_bar=False)
        dataset = PredictDataset(folder)
        given = DataLoader(dataset, batch_size=3, collate_fn=dataset.collate_fn, num_workers=workers)
        batches = engine.predict(model, dataloaders=given)
        return {path: float(score) for batch in batches
                for path, score in zip(batch.image_path, batch.pred_score, strict=True)}  # fmt: skip

    return predict


@pytest.mark.slow
def test_workers_serve_the_order_and_the_pixels_of_a_view(photos):
    view = OrderedDataset(PredictDataset(photos), [3, 0, 6, 2, 1], Identity())
    alone, helped = (
        [item for batch in DataLoader(view, 2, num_workers=workers, collate_fn=list) for item in batch]
        for workers in (0, 3)
    )
    assert [Path(item.image_path).stem for item in helped] == ["3", "0", "6", "2", "1"]
    assert all(torch.equal(ours.image, theirs.image) for ours, theirs in zip(helped, alone, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", [DualImageCLIP, MuSc])
def test_scores_do_not_depend_on_workers(method, photos, scores):
    expected = scores(method, photos, workers=0)
    assert len(expected) == 7
    assert scores(method, photos, workers=2) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_workers_name_every_broken_file(tmp_path, scores, caplog):
    folder = tmp_path / "corpus"
    write_corpus(folder)
    (folder / "dangling.png").unlink()  # with it, anomalib would refuse the whole folder
    listed = {Path(path).name for path in PredictDataset(folder).image_filenames}
    expected = scores(DualImageCLIP, folder, workers=0)
    caplog.clear()
    with caplog.at_level("WARNING"):
        assert scores(DualImageCLIP, folder, workers=2) == pytest.approx(expected, abs=1e-5)
    broken = listed & set(BROKEN)
    assert broken
    assert [name for name in broken if f"{name}: " not in caplog.text] == []


def told(worker: int) -> None:
    """Write a file that shows that the worker ran; called in the worker."""
    (Path(os.environ["TOLD"]) / f"{worker}.txt").touch()


@pytest.mark.parametrize("method", [DualImageCLIP, MuSc])
def test_all_reading_options_of_a_loader_are_kept(method, tiny_folder, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", str(tmp_path))
    used = []
    original = DataLoader.__iter__
    monkeypatch.setattr(DataLoader, "__iter__", lambda self: used.append(self) or original(self))
    options = {
        "num_workers": 1, "worker_init_fn": told, "multiprocessing_context": "fork", "timeout": 60,
        "prefetch_factor": 3, "persistent_workers": True, "generator": torch.Generator(), "in_order": False,
    }  # fmt: skip
    dataset = PredictDataset(photos)
    given = DataLoader(dataset, batch_size=3, collate_fn=dataset.collate_fn, **options)
    made = method(pretrained=str(tiny_folder), class_name="screw", visualizer=False, evaluator=False)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path / "out",
    )  # fmt: skip
    trainer.test(made, dataloaders=given, verbose=False)
    assert (tmp_path / "0.txt").is_file()
    assert len(used) == (2 if method is MuSc else 1)
    for reader in used:
        assert reader is not given
        assert all(getattr(reader, name) == getattr(given, name) for name in options)

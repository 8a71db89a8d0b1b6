"""Metrics in two processes on the CPU equal those in one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from anomalib.data import ImageBatch
from lightning.pytorch import LightningModule, Trainer
from torch import distributed, multiprocessing
from torch.utils.data import DataLoader, Dataset

from dualclip_lightning.metrics import ImageMetrics, PixelMetrics, default_evaluator
from tests.unit.metrics import references

IMAGES = 11


def data() -> tuple[torch.Tensor, torch.Tensor]:
    maps, masks = references.maps_and_masks(images=IMAGES, size=48)
    return torch.from_numpy(maps), torch.from_numpy(masks)


SHARDS = {"uneven": [8, 3], "empty": [11, 0], "double": [6, 5], "streaming": [8, 3], "mixed": [9, 2]}


def metrics_of(case: str, images: slice) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Return the metrics after this process has got some of the images, and the error bounds of the pixel metrics."""
    options = {"streaming": {"mode": "streaming", "buffer": 5000}, "mixed": {"exact_limit": 9000, "buffer": 5000}}
    pixel = PixelMetrics(**options.get(case, {}), bootstrap=20)
    image = ImageMetrics()
    maps, masks = data()
    maps = maps.double() if case == "double" and images.start else maps
    for part in range(*images.indices(IMAGES)):
        pixel.update(maps[part, None], masks[part, None])
        image.update(maps[part, None].amax((1, 2)), masks[part, None].flatten(1).any(1))
    results = pixel.compute() | {f"image_{name}": value for name, value in image.compute().items()}
    assert pixel.compute()["pro"] == results["pro"]
    assert len(pixel.kept) == len(range(*images.indices(IMAGES)))
    return results, pixel.error_bound


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    # The processes connect through a file, because another test could take a port. Lightning then uses this group.
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {}
    for case, (first, _) in SHARDS.items():
        found[case] = metrics_of(case, slice(first, None) if rank else slice(0, first))
    torch.save(found, Path(folder) / f"metrics {rank}.pt")
    os.environ |= {"NODE_RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2", "RANK": str(rank)}
    evaluate(Path(folder) / f"logged {rank}.pt", devices=1, num_nodes=2, strategy="ddp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder with the results of two processes: metrics by case, and what Lightning logged."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.start_processes(work, (str(folder),), nprocs=2, start_method="fork")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", SHARDS)
def test_two_processes_with_uneven_shards_give_what_one_gives(folder, case):
    expected, _ = metrics_of("one", slice(0, None))
    for rank in range(2):
        results, bounds = torch.load(folder / f"metrics {rank}.pt")[case]
        assert any(bounds.values()) == (case in {"streaming", "mixed"})
        assert results.keys() == expected.keys()
        for name, value in results.items():
            bound = bounds.get(name.removesuffix("_interval"), 0)  # An interval has the error bound of its figure.
            assert value.tolist() == pytest.approx(expected[name].tolist(), abs=bound + 1e-9), name


class Images(Dataset):
    """Data set of odd size, which a DistributedSampler pads by repeating the first image."""

    def __init__(self) -> None:
        self.maps, self.masks = data()

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, place: int) -> int:
        return place

    def collate(self, places: list[int]) -> ImageBatch:
        maps, masks = self.maps[places], self.masks[places]
        return ImageBatch(
            image=torch.zeros(len(places), 3, 48, 48), gt_label=masks.flatten(1).any(1), gt_mask=masks,
            pred_score=maps.flatten(1).amax(1), anomaly_map=maps, image_path=[f"{place}.png" for place in places],
        )  # fmt: skip


class Shell(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def test_step(self, batch: ImageBatch) -> ImageBatch:
        return batch


def evaluate(path: Path, **options) -> None:
    """Run a test with Lightning and save the logged metrics."""
    images, evaluator = Images(), default_evaluator()
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[evaluator], enable_progress_bar=False, enable_model_summary=False,
        **options,
    )  # fmt: skip
    trainer.test(Shell(), DataLoader(images, batch_size=2, collate_fn=images.collate), verbose=False)
    torch.save({name: float(value) for name, value in trainer.callback_metrics.items()}, path)


@pytest.mark.slow
def test_an_image_that_the_sampler_repeats_counts_once(folder, tmp_path):
    evaluate(tmp_path / "alone.pt")
    expected = torch.load(tmp_path / "alone.pt")
    assert len(expected) == 7
    for rank in range(2):
        assert torch.load(folder / f"logged {rank}.pt") == pytest.approx(expected, abs=1e-6)

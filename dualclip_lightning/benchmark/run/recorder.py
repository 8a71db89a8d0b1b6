"""Recording of a test: the score of every image, its map if requested, and the time of the steps."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback
from torch import Tensor

from dualclip_lightning.benchmark.results import Maps
from dualclip_lightning.utilities.files import files_digest


class Recorder(Callback):
    """Callback that stores scores, labels and maps, and measures the seconds of preprocessing and method.

    User callbacks run before those of the model, so the clock starts before preprocessing and stops before the metrics.

    Args:
        root: folder of the data; paths below it are stored relative to it.
        keep_maps: whether maps and masks are stored.
    """

    def __init__(self, root: str | None, keep_maps: bool) -> None:
        self.root = root
        self.keep_maps = keep_maps
        self.rows: list[tuple[str, int | None, float]] = []
        self._files: dict[str, Path] = {}
        self.seconds = 0.0
        self._maps: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []
        self._began = 0.0

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Find the masks of the test set: a batch has their paths only if its first image has a mask."""
        del pl_module
        samples = getattr(trainer.datamodule.test_data, "samples", None)
        if samples is not None and "mask_path" in samples:
            drawn = zip(samples["image_path"], samples["mask_path"], strict=True)
            files = {image: Path(mask) for image, mask in drawn if isinstance(mask, str | Path) and str(mask)}
            self._files |= {f"mask of {self._name(image)}": mask for image, mask in files.items()}

    def on_test_batch_start(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        """Start the clock."""
        del trainer, rest
        self._began = _now(pl_module.device)

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *rest: Any) -> None:
        """Stop the clock and store the results of the batch."""
        del trainer, rest
        self.seconds += _now(pl_module.device) - self._began
        scores = outputs.pred_score.flatten().tolist()
        labels = [None] * len(scores) if outputs.gt_label is None else outputs.gt_label.flatten().int().tolist()
        paths = [self._name(path) for path in outputs.image_path]
        self.rows += zip(paths, labels, scores, strict=True)
        self._files |= zip(paths, map(Path, outputs.image_path), strict=True)
        if self.keep_maps and outputs.anomaly_map is not None:
            self._maps.append(_squeeze(outputs.anomaly_map).to("cpu", torch.float16).numpy())
            masks = torch.zeros_like(outputs.anomaly_map) if outputs.gt_mask is None else outputs.gt_mask
            self._masks.append(_squeeze(masks).to("cpu", torch.bool).numpy())

    def images(self) -> pd.DataFrame:
        """Return image_path, label and score, one row per image, sorted by path because methods differ in order."""
        frame = pd.DataFrame(self.rows, columns=["image_path", "label", "score"]).astype({"label": "Int64"})
        return frame.sort_values("image_path", kind="stable", ignore_index=True)

    def digest(self) -> str:
        """Return a digest of the scored images and their masks."""
        return files_digest({name: path for name, path in self._files.items() if path.is_file()})

    def maps(self) -> Maps | None:
        """Return the maps in the order of the images; None if they were not requested or differ in size."""
        if not self._maps or self.unkept():
            return None
        names = np.array([path for path, *_ in self.rows])
        order = np.argsort(names, kind="stable")
        return Maps(names[order].tolist(), np.concatenate(self._maps)[order], np.concatenate(self._masks)[order])

    def unkept(self) -> str | None:
        """Return why requested maps are not stored, in a sentence; None if they are."""
        sizes = sorted({maps.shape[1:] for maps in self._maps})
        if len(sizes) < 2:  # noqa: PLR2004
            return None
        shown = ", ".join(f"{height}x{width}" for height, width in sizes)
        return f"maps of several sizes ({shown}) are not kept, so that the report draws none."

    def _name(self, path: str | Path) -> str:
        return _relative(path, self.root)


def data_root(datamodule: Any) -> str | None:
    """Return the folder of a datamodule's images; None if it is unknown."""
    root = getattr(datamodule, "split_root", None) or getattr(datamodule, "root", None)
    return os.path.abspath(root) if root else None  # noqa: PTH100  # as above


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _squeeze(maps: Tensor) -> Tensor:
    """Remove the channel dimension of maps [B, 1, H, W], if there is one."""
    return maps.detach().flatten(0, -3)


def labelled_files(dataset: Any, root: str | None) -> Iterator[tuple[str, Path]]:
    """Yield the images and masks of a data set, by names relative to the folder of the data where possible."""
    for sample in dataset.samples.itertuples():
        name = _relative(sample.image_path, root)
        yield name, Path(sample.image_path)
        mask = getattr(sample, "mask_path", None)
        if isinstance(mask, str | Path) and str(mask):
            yield f"mask of {name}", Path(mask)


def _relative(path: str | Path, root: str | None) -> str:
    whole = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links out of the folder
    return whole.relative_to(root).as_posix() if root and whole.is_relative_to(root) else str(whole)

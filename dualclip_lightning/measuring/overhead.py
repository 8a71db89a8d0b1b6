"""The share of a whole test run that is not the forward pass of CLIP.

    python -m dualclip_lightning.measuring.overhead

Dual-Image CLIP with random weights scores a folder of random images through anomalib's Engine, as `anomalib test` does
but without saving images. The time outside the image tower is spent on loading, pre- and post-processing, scores and
metrics. A short run beforehand fills the cache of text anchors and triggers late imports. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anomalib.data import Folder
from anomalib.engine import Engine
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.models import DualImageCLIP

WARM_UP = 4


class Stopwatch(Callback):
    """Callback that adds up the time inside the image tower of a test run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's name
        """Register hooks on the tower, which exists by now."""
        tower: torch.nn.Module = pl_module.model.encoder  # type: ignore[union-attr,assignment]
        tower.register_forward_pre_hook(self._begin)
        tower.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._start = _now()

    def _end(self, *_: Any) -> None:
        self.seconds += _now() - self._start


def write_images(folder: Path, count: int, size: int, seed: int = 0) -> None:
    """Write random images as PNG, every second one with a defect and its mask."""
    random = np.random.default_rng(seed)
    for part in ("good", "bad", "mask"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        small = Image.fromarray(random.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8))
        small.resize((size, size), Image.Resampling.BICUBIC).save(folder / ("bad", "good")[i % 2] / f"{i:04}.png")
        if i % 2 == 0:
            mask = np.zeros((size, size), np.uint8)
            mask[size // 4 : size // 2, size // 4 : size // 2] = 255
            Image.fromarray(mask).save(folder / "mask" / f"{i:04}.png")


def time_run(folder: Path, batch: int, workers: int, results: Path, **arguments: Any) -> pd.Series:
    """Return the seconds of a test run over `write_images`, in the image tower and elsewhere."""
    data = Folder(
        name="random", root=folder, normal_dir="good", normal_test_dir="good", abnormal_dir="bad", mask_dir="mask",
        eval_batch_size=batch, num_workers=workers, val_split_mode="none", test_split_mode="from_dir",
    )  # fmt: skip
    model = DualImageCLIP(class_name="object", visualizer=False, **arguments)
    tower = Stopwatch()
    engine = Engine(
        default_root_dir=results, logger=False, enable_progress_bar=False, enable_model_summary=False, devices=1,
        callbacks=[tower],
    )  # fmt: skip
    start = _now()
    engine.test(model=model, datamodule=data, verbose=False)
    whole = _now() - start
    return pd.Series({"whole run": whole, "forward": tower.seconds, "everything else": whole - tower.seconds})


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="ViT-B-16-plus-240")
    parser.add_argument("--pretrained", default="random")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--num-workers", type=int, default=2)
    options = parser.parse_args(arguments)
    weights = {"backbone": options.backbone, "pretrained": options.pretrained}
    with tempfile.TemporaryDirectory() as folder, quiet():
        for name, count in (("warm-up", WARM_UP), ("timed", options.images)):
            write_images(Path(folder) / name, count, options.size)
            place = Path(folder) / name
            seconds = time_run(place, options.batch, options.num_workers, Path(folder) / "results", **weights)
    table = pd.DataFrame({"seconds": seconds, "share of forward": seconds / seconds["forward"]})
    print(f"{options.backbone}, {options.images} images of {options.size}x{options.size}, batch {options.batch}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(table.round(3).to_string())


if __name__ == "__main__":
    show_what_it_can()
    main()

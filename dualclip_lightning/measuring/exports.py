"""Milliseconds per image of a detector in PyTorch, and of its exports in onnxruntime and OpenVINO, on the CPU.

    python -m dualclip_lightning.measuring.exports
    python -m dualclip_lightning.measuring.exports --bundle plate.dualclip --batch 1 8 --rounds 20

All of them take the same random images as bytes and return scores, decisions and maps at the size of the images. The
variants alternate in one process, each with as many threads as its library chooses. Without `--bundle`, the detector
is the embedded demo model with four references. Needs the extras `export` and `openvino`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.measuring.speed import summarise, time_steps
from dualclip_lightning.measuring.steps import Step
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.export.runtimes import Runner, load

FILES = {"onnxruntime": "detector.onnx", "OpenVINO": "detector.xml"}


def demo_detector(side: int) -> Detector:
    """Return a detector with the demo model, four random references of this side in pixels, and a threshold."""
    references = list(random_images(4, side, seed=1).numpy())
    return Detector("object", pretrained="demo", reference_dir=references, geometry="squash", threshold=0.5)


def random_images(count: int, side: int, seed: int = 0) -> Tensor:
    """Return square images of random bytes: [N, H, W, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def build_steps(detector: Detector, folder: Path) -> Mapping[str, Step]:
    """Export a detector into a folder, and return functions of images [N, H, W, 3] for PyTorch and each runtime."""
    steps: dict[str, Step] = {"PyTorch (Detector)": lambda images: detect(detector, images)}
    for name, file in FILES.items():
        detector.export(folder / file)
        steps[name] = _exported(load(folder / file))
    return steps


def detect(detector: Detector, images: Tensor) -> list[tuple[float, str | None, object]]:
    """Return score, decision and map of each image."""
    found = detector.predict(list(images.numpy()))
    return [(each.score, each.decision, each.map) for each in found]


def _exported(run: Runner) -> Step:
    return lambda images: run(images.permute(0, 3, 1, 2).contiguous().numpy().astype(np.float32) / 255)


def measure(steps: Mapping[str, Step], batch: int, side: int, rounds: int) -> pd.DataFrame:
    """Return the milliseconds per image and the ratio to the first step in batches of this size."""
    table = summarise(time_steps(steps, random_images(batch, side), rounds), batch)
    columns = {"seconds an image": f"batch {batch}: ms per image", "ratio": f"batch {batch}: ratio"}
    return table.assign(**{"seconds an image": 1000 * table["seconds an image"]}).rename(columns=columns)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle of 'dualclip calibrate'; default: the demo model")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], metavar="N", help="images in a call")
    parser.add_argument("--side", type=int, default=300, help="of the images in pixels")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    detector = Detector.load(options.bundle, device="cpu") if options.bundle else demo_detector(options.side)
    with TemporaryDirectory() as folder:
        steps = build_steps(detector, Path(folder))
        table = pd.concat([measure(steps, batch, options.side, options.rounds) for batch in options.batch], axis=1)
    print(f"{detector!r}, images of {options.side}x{options.side} pixels, {torch.get_num_threads()} threads of PyTorch")
    print(table.round(2).to_string())


if __name__ == "__main__":
    show_what_it_can()
    main()

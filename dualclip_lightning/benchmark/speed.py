"""How long a step takes beside a bare CLIP forward of the same images.

    python -m dualclip_lightning.benchmark.speed --batch 8

Seconds belong to a machine, ratios travel: the variants take turns in one process on the same random images and
weights, and the medians of the ratios within each round are printed. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import pandas as pd
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
from dualclip_lightning.backbone import DualPathVisionEncoder, load_backbone
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.models import DualImageCLIPModel

Step = Callable[[Tensor], object]


def steps(visual: VisionTransformer) -> dict[str, Step]:
    """The steps to be timed by name; the first is what the others are divided by."""
    encoder = DualPathVisionEncoder(visual)
    preset = PRESETS["openai"]
    adaptation = TestTimeAdaptation(AdaptationSettings(), preset["mean"], preset["std"], seed=0)
    plain, adapted = DualImageCLIPModel(encoder), DualImageCLIPModel(encoder, adaptation=adaptation)
    for model in (plain, adapted):
        model.anchors = torch.randn(2, visual.output_dim, device=visual.conv1.weight.device)
    return {
        "bare CLIP forward": visual,
        "dual-path encoder": encoder,
        "Dual-Image CLIP, the whole step": plain,
        f"the same with {AdaptationSettings().steps} steps of adaptation": adapted,
    }


def time_steps(variants: dict[str, Step], images: Tensor, rounds: int) -> pd.DataFrame:
    """Seconds of every step in every round, the steps taking turns after one warm-up round: [rounds, steps]."""
    seconds = [{name: _seconds(step, images) for name, step in variants.items()} for _ in range(rounds + 1)]
    return pd.DataFrame(seconds[1:])


def summarise(seconds: pd.DataFrame, images: int) -> pd.DataFrame:
    """Median seconds an image, and the median ratio to the first step round by round."""
    ratios = seconds.div(seconds.iloc[:, 0], axis=0)
    return pd.DataFrame({"seconds an image": seconds.median() / images, "ratio": ratios.median()})


def _seconds(step: Step, images: Tensor) -> float:
    with torch.inference_mode():
        _wait(images)
        start = time.perf_counter()
        step(images)
        _wait(images)
    return time.perf_counter() - start


def _wait(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="ViT-B-16-plus-240")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    backbone = load_backbone(options.backbone, "random")
    visual = backbone.visual.to(options.device)
    images = torch.randn(options.batch, 3, *backbone.preprocessing.size, device=options.device)
    table = summarise(time_steps(steps(visual), images, options.rounds), options.batch)
    print(f"{options.backbone}, batch {options.batch}, {options.device}, {torch.get_num_threads()} threads")
    print(table.round(3).to_string())
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()

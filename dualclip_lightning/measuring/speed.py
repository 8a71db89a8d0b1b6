"""The cost of a step relative to a bare forward of the same images.

    python -m dualclip_lightning.measuring.speed
    python -m dualclip_lightning.measuring.speed --methods all --batch 2 --rounds 3 --memory
    python -m dualclip_lightning.measuring.speed --backbone timm:vit_small_patch14_dinov2 --methods all
    python -m dualclip_lightning.measuring.speed --pretrained demo --methods all

Seconds depend on the machine, ratios are comparable: the variants alternate in one process on the same random images
and the same weights, random ones or those of the demo, and the program prints the medians of the ratios within each
round and the ratio of counted multiplications. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dualclip_lightning.backbone import (
    PlainVisionEncoder,
    prepare_backbone,
)
from dualclip_lightning.backbone.checkpoints.choosing import DEMO, RANDOM
from dualclip_lightning.backbone.encoders.timm_tower import TimmTower
from dualclip_lightning.backbone.timm_weights import TIMM
from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.measuring.memory import peak_megabytes, reset_peak
from dualclip_lightning.measuring.steps import BARE, DEFAULT, VARIANTS, WITH_STEM, WITHOUT_TEXTS, Step


def time_steps(variants: Mapping[str, Step], images: Tensor, rounds: int) -> pd.DataFrame:
    """Measure the seconds of every step in every round, alternating after one warm-up round: [rounds, steps]."""
    seconds = [{name: _seconds(step, images) for name, step in variants.items()} for _ in range(rounds + 1)]
    return pd.DataFrame(seconds[1:])


def summarise(seconds: pd.DataFrame, images: int) -> pd.DataFrame:
    """Return the median seconds per image, and the median ratio to the first step in each round."""
    ratios = seconds.div(seconds.iloc[:, 0], axis=0)
    return pd.DataFrame({"seconds an image": seconds.median() / images, "ratio": ratios.median()})


def forwards(variants: Mapping[str, Step], images: Tensor) -> pd.Series:
    """Return the multiplications of every step divided by those of the first."""
    counts, fast = {}, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)  # the counter does not support that kernel
    try:
        for name, step in variants.items():
            with FlopCounterMode(display=False) as counter:
                _seconds(step, images)
            counts[name] = counter.get_total_flops()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return pd.Series(counts) / next(iter(counts.values()))


def peak_memory(names: Sequence[str], backbone: str, pretrained: str, batch: int, size: int | None) -> pd.Series:
    """Return the largest resident size in MB, including model and libraries, of a new process in its first CPU step."""
    spawn = get_context("spawn")
    peaks = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            peaks[name] = process.submit(_peak, name, backbone, pretrained, batch, size).result()
    return pd.Series(peaks)


def _peak(name: str, backbone: str, pretrained: str, batch: int, size: int | None) -> float:
    variants, images = _prepare([name], backbone, pretrained, batch, size, "cpu")
    reset_peak(images.device)  # loading needs more memory than most steps
    _seconds(variants[name], images)
    return peak_megabytes(images.device) or math.nan  # ru_maxrss would start from the parent's value


def _prepare(
    names: Sequence[str], backbone: str, pretrained: str, batch: int, size: int | None, device: str
) -> tuple[dict[str, Step], Tensor]:
    loaded, prepared = prepare_backbone(backbone, pretrained, None, 0, size)
    visual = loaded.visual.to(device)
    images = torch.randn(batch, 3, *prepared.size, device=device)
    with torch.inference_mode():
        built = {name: VARIANTS[name](visual) for name in names}
    if loaded.preprocessing.size != prepared.size and not isinstance(visual, TimmTower):
        built[BARE] = PlainVisionEncoder(visual)  # open_clip's own forward does not interpolate positions
    return built, images


def _known(backbone: str, pretrained: str) -> tuple[str, ...]:
    """Return the names of the steps that a backbone can take."""
    if backbone.startswith(TIMM):
        return WITHOUT_TEXTS
    return tuple(name for name in VARIANTS if pretrained == DEMO or name not in WITH_STEM)


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
    parser.add_argument("--backbone", default="ViT-B-16-plus-240", help="of open_clip, or 'timm:NAME', without texts")
    parser.add_argument("--pretrained", default=RANDOM, choices=[RANDOM, DEMO], help="weights (default: %(default)s)")
    parser.add_argument("--size", type=int, help="side of the images in pixels; default: that of the backbone")
    parser.add_argument("--methods", nargs="+", default=DEFAULT, choices=["all", *VARIANTS], metavar="NAME",
                        help=f"'all', or some of: {'; '.join(VARIANTS)}")  # fmt: skip
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory", action="store_true", help="also measure the peak memory of each, in new processes")
    options = parser.parse_args(arguments)
    known = _known(options.backbone, options.pretrained)
    asked = known if "all" in options.methods else options.methods
    names = [BARE, *(name for name in asked if name != BARE)]
    if not set(names) <= set(known):
        lacks = "texts" if options.backbone.startswith(TIMM) else "convolutional stem"
        parser.error(f"'{options.backbone}' has no {lacks}. Choose among: {'; '.join(known)}")
    variants, images = _prepare(
        names, options.backbone, options.pretrained, options.batch, options.size, options.device
    )
    table = summarise(time_steps(variants, images, options.rounds), options.batch)
    table["ratio of multiplications"] = forwards(variants, images)
    if options.memory:
        table["peak MB"] = peak_memory(names, options.backbone, options.pretrained, options.batch, options.size).round()
    pixels = f"{images.shape[-2]}x{images.shape[-1]} pixels"
    threads = torch.get_num_threads()
    name = DEMO if options.pretrained == DEMO else options.backbone
    print(f"{name}, {pixels}, batch {options.batch}, {options.device}, {threads} threads")
    print(table.round(3).to_string())


if __name__ == "__main__":
    show_what_it_can()
    main()

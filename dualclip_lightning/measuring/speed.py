"""The cost of a step relative to a bare CLIP forward of the same images.

    python -m dualclip_lightning.measuring.speed
    python -m dualclip_lightning.measuring.speed --methods all --batch 2 --rounds 3 --memory

Seconds depend on the machine, ratios are comparable: the variants alternate in one process on the same random images
and weights, and the program prints the medians of the ratios within each round and the ratio of counted
multiplications. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.transformer import VisionTransformer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
from dualclip_lightning.backbone import (
    DualPathVisionEncoder,
    IntermediateEncoder,
    PlainVisionEncoder,
    StagedDualPathEncoder,
    WindowEncoder,
    load_backbone,
)
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.measuring.memory import peak_megabytes, reset_peak
from dualclip_lightning.models.anoclip import AnoCLIPModel, NoiseSettings
from dualclip_lightning.models.base import AnchoredModel
from dualclip_lightning.models.clip_ad import ClipADModel
from dualclip_lightning.models.clip_zero_shot import ClipZeroShotModel
from dualclip_lightning.models.dual_image_clip import DualImageCLIPModel
from dualclip_lightning.models.musc import MuScModel
from dualclip_lightning.models.winclip import WinCLIPModel
from dualclip_lightning.prompts import prompt_ensemble

Step = Callable[[Tensor], object]
BARE = "bare CLIP forward"


def dual_image_clip(visual: VisionTransformer, steps: int = 0) -> Step:
    """Return a step of Dual-Image CLIP, with adaptation if there are steps."""
    preset, settings = PRESETS["openai"], AdaptationSettings(steps=steps)
    adaptation = TestTimeAdaptation(settings, preset["mean"], preset["std"], seed=0) if steps else None
    return _anchored(DualImageCLIPModel(DualPathVisionEncoder(visual), adaptation=adaptation), visual)


def winclip(visual: VisionTransformer, shots: int = 0) -> Step:
    """Return a step of WinCLIP, or of WinCLIP+ with some normal images."""
    model = WinCLIPModel(WindowEncoder(visual))
    model.set_references(torch.randn(shots, 3, *_size(visual), device=visual.class_embedding.device))
    return _anchored(model, visual)


def anoclip(visual: VisionTransformer, full: bool) -> Step:
    """Return a step of AnoCLIP with or without its views and its adaptation."""
    model = AnoCLIPModel(DualPathVisionEncoder(visual), NoiseSettings(steps=5 if full else 0), views=full)
    prompts = prompt_ensemble("object")
    normal, anomalous = (F.normalize(torch.randn(len(texts), visual.output_dim), dim=-1) for texts in prompts)
    model.texts = normal, anomalous
    return _anchored(model, visual)


def clip_ad(visual: VisionTransformer) -> Step:
    """Return a step of CLIP-AD's SDP."""
    return _anchored(ClipADModel(StagedDualPathEncoder(visual, stages=None, keep_ordinary=False)), visual)


def musc(visual: VisionTransformer, references: int | None = None) -> Step:
    """Return a step of MuSc with the batch as its set, or over references."""
    return MuScModel(IntermediateEncoder(visual), num_references=references)


VARIANTS: Mapping[str, Callable[[VisionTransformer], Step]] = {
    BARE: lambda visual: visual,
    "dual-path encoder": DualPathVisionEncoder,
    "Dual-Image CLIP": dual_image_clip,
    "Dual-Image CLIP with TTA, 2 steps": lambda visual: dual_image_clip(visual, 2),
    "ClipZeroShot": lambda visual: _anchored(ClipZeroShotModel(PlainVisionEncoder(visual)), visual),
    "WinCLIP": winclip,
    "WinCLIP+, 1 normal image": lambda visual: winclip(visual, 1),
    "AnoCLIP, no views, no TTA": lambda visual: anoclip(visual, full=False),
    "AnoCLIP, 22 views, TTA": lambda visual: anoclip(visual, full=True),
    "ClipAD (SDP)": clip_ad,
    "MuSc, the batch as its set": musc,
    "MuSc-2": lambda visual: musc(visual, 1),
}
"""Steps by name; the others are divided by the first."""
DEFAULT = tuple(VARIANTS)[1:4]


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


def peak_memory(names: Sequence[str], backbone: str, batch: int) -> pd.Series:
    """Return the largest resident size in MB, including model and libraries, of a new process in its first CPU step."""
    spawn = get_context("spawn")
    peaks = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            peaks[name] = process.submit(_peak, name, backbone, batch).result()
    return pd.Series(peaks)


def _peak(name: str, backbone: str, batch: int) -> float:
    variants, images = _prepare([name], backbone, batch, "cpu")
    reset_peak(images.device)  # loading needs more memory than most steps
    _seconds(variants[name], images)
    return peak_megabytes(images.device) or math.nan  # ru_maxrss would start from the parent's value


def _prepare(names: Sequence[str], backbone: str, batch: int, device: str) -> tuple[dict[str, Step], Tensor]:
    visual = load_backbone(backbone, "random").visual.to(device)
    images = torch.randn(batch, 3, *_size(visual), device=device)
    with torch.inference_mode():
        return {name: VARIANTS[name](visual) for name in names}, images


def _anchored(model: AnchoredModel, visual: VisionTransformer) -> Step:
    """Move the model to the device of the visual tower and set some anchors."""
    model.anchors = F.normalize(torch.randn(2, visual.output_dim), dim=-1)
    return model.to(visual.class_embedding.device)


def _size(visual: VisionTransformer) -> tuple[int, int]:
    height, width = visual.image_size
    return height, width


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
    parser.add_argument("--methods", nargs="+", default=DEFAULT, choices=["all", *VARIANTS], metavar="NAME",
                        help=f"'all', or some of: {'; '.join(VARIANTS)}")  # fmt: skip
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory", action="store_true", help="also measure the peak memory of each, in new processes")
    options = parser.parse_args(arguments)
    asked = VARIANTS if "all" in options.methods else options.methods
    names = [BARE, *(name for name in asked if name != BARE)]
    variants, images = _prepare(names, options.backbone, options.batch, options.device)
    table = summarise(time_steps(variants, images, options.rounds), options.batch)
    table["ratio of multiplications"] = forwards(variants, images)
    if options.memory:
        table["peak MB"] = peak_memory(names, options.backbone, options.batch).round()
    print(f"{options.backbone}, batch {options.batch}, {options.device}, {torch.get_num_threads()} threads")
    print(table.round(3).to_string())


if __name__ == "__main__":
    show_what_it_can()
    main()

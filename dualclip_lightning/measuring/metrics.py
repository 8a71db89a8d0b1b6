"""Time and peak memory of the pixel metrics, compared with anomalib, torchmetrics, scikit-learn and ADEval.

    python -m dualclip_lightning.measuring.metrics --size 240

All get the same random maps and masks, in batches of 8 if they support batches. Each runs in its own forked process, so
peak memory is the amount on top of the maps; the variants alternate, and the smallest value of all rounds is reported.
Needs Linux with glibc.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.measuring.memory import peak_megabytes, reset_peak
from dualclip_lightning.measuring.other_metrics import ADEVAL, SCORE_BOUNDS, Results, Variant, batches, other_variants
from dualclip_lightning.metrics import PixelMetrics

CPU = torch.device("cpu")
OURS = ("exact", "streaming")
SORTS = ("a bare sort, NumPy", "a bare sort, PyTorch")


def maps_and_masks(images: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw random maps and masks [images, size, size]: three rectangles in three of four images, scores in [0, 1]."""
    random = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), np.bool_)
    for i, mask in enumerate(masks):
        for _ in range(3 if i % 4 else 0):
            top, left, height, width = (*random.integers(0, size * 5 // 6, 2), *random.integers(1, size // 6, 2))
            mask[top : top + height, left : left + width] = True
    scores = random.standard_normal(masks.shape, dtype=np.float32) + np.float32(2) * masks
    return torch.from_numpy(1 / (1 + np.exp(-scores))), torch.from_numpy(masks)


def variants() -> dict[str, Variant]:
    """Return the measured functions by name."""
    found: dict[str, Variant] = {mode: _ours(mode) for mode in OURS}
    found |= {"a bare sort, NumPy": _sort_numpy, "a bare sort, PyTorch": _sort_torch}
    return found | other_variants()


def measure(variant: Variant, maps: Tensor, masks: Tensor) -> Results:
    """Return seconds, peak MB and figures of one run in a forked process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(variant, maps, masks, there))
    process.start()
    there.close()
    found = here.recv()
    process.join()
    return found


def compare(chosen: dict[str, Variant], maps: Tensor, masks: Tensor, rounds: int) -> pd.DataFrame:
    """Return the smallest seconds and MB of each variant over the rounds, and its figures."""
    runs = [{"variant": name} | measure(run, maps, masks) for _ in range(rounds) for name, run in chosen.items()]
    return pd.DataFrame(runs).groupby("variant", sort=False).min()


def report(table: pd.DataFrame) -> Iterator[str]:
    """Yield the table with ratios to both modes, the ratio to a bare sort, and the errors of streaming and ADEval."""
    for place, mode in enumerate(OURS, start=1):
        table.insert(place, f"/ {mode}", table["seconds"] / table.loc[mode, "seconds"])
    digits = {"seconds": 3, "MB": 0} | {f"/ {mode}": 2 for mode in OURS}
    yield table.round(digits).to_string(na_rep="", float_format=lambda x: f"{x:.6g}")
    for sort in (name for name in SORTS if name in table.index):
        ratio = table.loc["exact", "seconds"] / table.loc[sort, "seconds"]
        yield f"exact, all of it: {ratio:.2f} times {sort}"
    figures = table.loc[list(OURS), ["auroc", "ap", "f1max", "pro"]]
    yield f"streaming is off by at most {figures.diff().iloc[1].abs().max():.1e}"
    if ADEVAL in table.index:
        errors = (table.loc[ADEVAL] - table.loc["exact"])[["auroc", "ap", "pro"]].abs()
        shown = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        yield f"{ADEVAL}, with the bounds {SCORE_BOUNDS}, differs from exact by: {shown}"


def _run(variant: Variant, maps: Tensor, masks: Tensor, there: Connection) -> None:
    variant(maps[:2], masks[:2])  # Exclude one-time loading and allocation from the measurement.
    ctypes.CDLL(None).malloc_trim(0)  # Free memory held by the process would hide the memory of the variant.
    reset_peak(CPU)
    before, start = _peak(), time.perf_counter()
    figures = variant(maps, masks)
    there.send({"seconds": time.perf_counter() - start, "MB": _peak() - before} | figures)


def _peak() -> float:
    return peak_megabytes(CPU) or math.nan


def _ours(mode: Any) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = PixelMetrics(mode)
        for batch in batches(maps, masks):
            metric.update(*batch)
        return {name: float(value) for name, value in metric.compute().items()}

    return run


def _sort_numpy(maps: Tensor, masks: Tensor) -> Results:
    del masks
    np.sort(maps.numpy(), axis=None)
    return {}


def _sort_torch(maps: Tensor, masks: Tensor) -> Results:
    del masks
    torch.sort(maps.flatten())
    return {}


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs="+", default=[240], help="sides of the square maps")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ours", action="store_true", help="skip the other packages")
    chosen = variants()
    parser.add_argument("--only", nargs="+", choices=list(chosen), metavar="NAME", help="besides exact and streaming")
    options = parser.parse_args(arguments)
    if options.only or options.ours:
        chosen = {name: chosen[name] for name in (*OURS, *(options.only or SORTS))}
    for size in options.size:
        maps, masks = maps_and_masks(options.images, size)
        share = float(masks.numpy().mean())
        print(f"{options.images} maps of {size}x{size}, {share:.1%} anomalous, {torch.get_num_threads()} threads")
        print(*report(compare(chosen, maps, masks, options.rounds)), sep="\n", flush=True)


if __name__ == "__main__":
    show_what_it_can()
    main()

"""Time and peak memory of the pixel metrics, compared with anomalib, torchmetrics and scikit-learn.

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
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import anomalib.metrics
import numpy as np
import pandas as pd
import sklearn.metrics
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.measuring.memory import peak_megabytes, reset_peak
from dualclip_lightning.metrics import PixelMetrics

Results = dict[str, float]
Variant = Callable[[Tensor, Tensor], Results]

BATCH = 8
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
    for name, metric in {"AUROC": "auroc", "AUPR": "ap", "F1Max": "f1max", "AUPRO": "pro"}.items():
        found[f"anomalib {name}"] = _anomalib(metric, getattr(anomalib.metrics, name))
    found["torchmetrics AUROC"] = _torchmetrics("auroc", BinaryAUROC)
    found["torchmetrics AP"] = _torchmetrics("ap", BinaryAveragePrecision)
    return found | {
        "scikit-learn AUROC": _scikit("auroc", sklearn.metrics.roc_auc_score),
        "scikit-learn AP": _scikit("ap", sklearn.metrics.average_precision_score),
        "scikit-learn F1max": _scikit("f1max", _f1_max),
    }


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
    """Yield the table with ratios to exact mode, the ratio to a bare sort, and the error of streaming."""
    table.insert(1, "ratio", table["seconds"] / table.loc["exact", "seconds"])
    yield table.round({"seconds": 3, "ratio": 2, "MB": 0}).to_string(na_rep="", float_format=lambda x: f"{x:.6g}")
    for sort in SORTS:
        ratio = table.loc["exact", "seconds"] / table.loc[sort, "seconds"]
        yield f"exact, all of it: {ratio:.2f} times {sort}"
    figures = table.loc[list(OURS), ["auroc", "ap", "f1max", "pro"]]
    yield f"streaming is off by at most {figures.diff().iloc[1].abs().max():.1e}"


def _run(variant: Variant, maps: Tensor, masks: Tensor, there: Connection) -> None:
    variant(maps[:2], masks[:2])  # Exclude one-time loading and allocation from the measurement.
    ctypes.CDLL(None).malloc_trim(0)  # Free memory held by the process would hide the memory of the variant.
    reset_peak(CPU)
    before, start = _peak(), time.perf_counter()
    figures = variant(maps, masks)
    there.send({"seconds": time.perf_counter() - start, "MB": _peak() - before} | figures)


def _peak() -> float:
    return peak_megabytes(CPU) or math.nan


def _batches(maps: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(maps.split(BATCH), masks.split(BATCH), strict=True)


def _ours(mode: Any) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = PixelMetrics(mode)
        for batch in _batches(maps, masks):
            metric.update(*batch)
        return {name: float(value) for name, value in metric.compute().items()}

    return run


def _torchmetrics(name: str, make: Callable[[], Any]) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = make()
        for batch_maps, batch_masks in _batches(maps, masks):
            metric.update(batch_maps, batch_masks.int())
        return {name: float(metric.compute())}

    return run


def _anomalib(name: str, kind: Callable[..., Any]) -> Variant:
    def run(maps: Tensor, masks: Tensor) -> Results:
        metric = kind(fields=["maps", "masks"])
        for batch_maps, batch_masks in _batches(maps, masks):
            metric.update(SimpleNamespace(maps=batch_maps, masks=batch_masks.int()))
        return {name: float(metric.compute())}

    return run


def _scikit(name: str, metric: Callable[[NDArray, NDArray], float]) -> Variant:
    return lambda maps, masks: {name: float(metric(masks.numpy().ravel(), maps.numpy().ravel()))}


def _f1_max(targets: NDArray, scores: NDArray) -> float:
    precision, recall, _ = sklearn.metrics.precision_recall_curve(targets, scores)
    return float((2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)).max())


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
    options = parser.parse_args(arguments)
    chosen = variants()
    if options.ours:
        chosen = {name: chosen[name] for name in (*OURS, *SORTS)}
    for size in options.size:
        maps, masks = maps_and_masks(options.images, size)
        share = float(masks.numpy().mean())
        print(f"{options.images} maps of {size}x{size}, {share:.1%} anomalous, {torch.get_num_threads()} threads")
        print(*report(compare(chosen, maps, masks, options.rounds)), sep="\n", flush=True)


if __name__ == "__main__":
    show_what_it_can()
    main()

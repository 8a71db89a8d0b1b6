"""Synthetic run folders with the layout of those that the benchmark writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dualclip_lightning.benchmark.names import METRICS
from dualclip_lightning.benchmark.results import CellResult, Maps, assemble, load_run, write_cell

PROVENANCE = {
    "model": "DualImageCLIP",
    "kind": "pair",
    "num_images": 8,
    "seconds": 2.0,
    "seconds_per_image": 0.25,
    "peak_memory_mb": 512.0,
    "device": "cpu",
    "precision": "32-true",
    "backbone": "ViT-B-16-plus-240",
    "weights": "laion400m_e32",
    "weights_sha256": "ab" * 32,
    "weights_origin": json.dumps({"url": "http://weights"}),
    "transform": "Resize(size=[240, 240])",
    "parameters": json.dumps({"alpha": 0.5, "tta": False, "seed": 0}),
    "masks": "nearest",
    "evaluation": json.dumps({}),
    "data_arguments": json.dumps({"root": "data"}),
    "images_sha256": "cd" * 32,
    "versions": json.dumps({"torch": "2.5.0"}),
    "git_revision": "c0ffee",
    "started": "2026-01-01T00:00:00+00:00",
}


def cell(method="joint", category="cork", seed=0, metrics=0.5, dataset="Demo", **others):
    """Return one row of the results; `metrics` is one number for all metrics, or a dictionary of some of them."""
    figures = dict.fromkeys(METRICS, metrics) if isinstance(metrics, float) else dict.fromkeys(METRICS) | metrics
    key = f"{method}-{dataset}-{category}-{seed}".replace(" ", "_")
    identity = {"key": key, "status": "done", "error": None, "method": method, "dataset": dataset}
    return identity | {"category": category, "seed": seed} | figures | PROVENANCE | others


def failed(**identity):
    """Return the row of a failed cell, which has no figures but the reason."""
    nothing = dict.fromkeys(("seconds", "seconds_per_image", "peak_memory_mb", "num_images"))
    return cell(**identity, metrics={}, status="failed", error="RuntimeError: out of memory", **nothing)


def frame(*cells):
    """Return results as a data frame."""
    table = pd.DataFrame(cells)
    table[list(METRICS)] = table[list(METRICS)].astype(float)
    return table


def random_cells(methods, categories, seeds, rng_seed=0, **others):
    """Return cells with random figures."""
    rng = np.random.default_rng(rng_seed)
    return [
        cell(method, category, seed, dict(zip(METRICS, rng.uniform(0.2, 1, len(METRICS)), strict=True)), **others)
        for method in methods
        for category in categories
        for seed in seeds
    ]


def write_run(folder, cells, with_maps=()):
    """Write a run folder as the benchmark does, with images, scores and maps that fit each other, and load it.

    Args:
        folder: the folder to write.
        cells: rows of the results.
        with_maps: the methods whose maps are kept.
    """
    for row in cells:
        if row["status"] == "done":
            write_cell(folder, _result(folder, row, row["method"] in with_maps))
        else:
            write_cell(folder, CellResult(row))
    assemble(folder, [row["key"] for row in cells])
    (folder / "config.yaml").write_text("name: synthetic\nseeds: [0]\n")
    return load_run(folder)


def _result(folder, row, keep_maps, count=6, size=24):
    rng = np.random.default_rng([*row["key"].encode()])
    masks = np.zeros((count, size, size), bool)
    masks[count // 2 :, 6:12, 8:16] = True
    maps = np.clip(rng.uniform(0, 0.6, masks.shape) + 0.3 * masks, 0, 1).astype(np.float16)
    paths = [str(folder / "data" / row["category"] / f"{number}.png") for number in range(count)]
    for path, mask in zip(paths, masks, strict=True):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((60 + 120 * mask).astype(np.uint8)).save(path)
    images = pd.DataFrame({"image_path": paths, "label": masks.any((1, 2)).astype(int),
                           "score": maps.max((1, 2)).astype(float)})  # fmt: skip
    return CellResult(row, images, Maps(paths, maps, masks) if keep_maps else None)

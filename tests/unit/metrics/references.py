"""Plain, slow implementations of the metrics, and random test sets to compare them on."""

from __future__ import annotations

import numpy as np
from scipy.integrate import trapezoid
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

EIGHT, FOUR = np.ones((3, 3)), None


def ranked(scores, targets) -> dict[str, float]:
    """Compute AUROC, AP and F1max with scikit-learn."""
    scores, targets = np.ravel(scores), np.ravel(targets)
    precision, recall, _ = precision_recall_curve(targets, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    return {
        "auroc": roc_auc_score(targets, scores),
        "ap": average_precision_score(targets, scores),
        "f1max": f1.max(),
    }


def regions(maps, masks, neighbours=EIGHT) -> list[np.ndarray]:
    """Return the scores in each connected component of each mask."""
    found = []
    for score_map, mask in zip(maps, masks, strict=True):
        numbered, count = label(mask, neighbours)
        found += [score_map[numbered == i] for i in range(1, count + 1)]
    return found


def share_at_least(scores, thresholds) -> np.ndarray:
    """Return the share of scores at or above each threshold."""
    return 1 - np.searchsorted(np.sort(scores), thresholds) / scores.size


def per_region_overlap(maps, masks, limit=0.3, neighbours=EIGHT) -> float:
    """Compute the area under the mean overlap of regions up to a limit of the false-positive rate, divided by it."""
    inside, outside = regions(maps, masks, neighbours), maps[masks == 0]
    thresholds = np.unique(maps)[::-1]
    rate = np.append(0, share_at_least(outside, thresholds))
    overlap = np.append(0, sum(share_at_least(region, thresholds) for region in inside) / len(inside))
    at_limit = np.interp(limit, rate, overlap)
    rate, overlap = np.append(rate[rate < limit], limit), np.append(overlap[rate < limit], at_limit)
    return float(trapezoid(overlap, rate) / limit)


def per_region_overlap_200(maps, masks) -> float:
    """Compute PRO as for AnoCLIP's and CLIP-AD's tables: 200 thresholds, strictly above, rescaled below 0.3."""
    inside, outside = regions(maps, masks), maps[masks == 0]
    low, step = float(maps.min()), (float(maps.max()) - float(maps.min())) / 200
    thresholds = [low + k * step for k in range(200)]
    curve = [((outside > t).mean(), np.mean([(r > t).mean() for r in inside])) for t in thresholds]
    rate, overlap = np.array(sorted(point for point in curve if point[0] < 0.3)).T
    return float(trapezoid(overlap, rate / rate.max()))


def every(maps, masks, **arguments) -> dict[str, float]:
    """Compute all four pixel metrics."""
    return ranked(maps, masks) | {"pro": per_region_overlap(maps, masks, **arguments)}


KINDS = ("plain", "narrow", "outlier", "bimodal", "drift up", "drift down", "narrowing", "few values", "constant",
         "mostly constant", "good", "bad", "sorted", "normal images first")  # fmt: skip


def maps_and_masks(kind: str = "plain", images: int = 24, size: int = 32, seed: int = 0, dtype=np.float32):
    """Return maps and masks [images, size, size] with scores distributed according to `kind`."""
    random = np.random.default_rng(seed)
    masks = np.zeros((images, size, size), bool)
    for i, mask in enumerate(masks):
        for _ in range(3 * bool(i % 4)):
            top, left, height, width = (*random.integers(0, size - 6, 2), *random.integers(1, 7, 2))
            mask[top : top + height, left : left + width] = True
    if kind == "normal images first":
        masks[: images // 2] = False
    noise = random.normal(size=masks.shape)
    maps, run = noise + 2 * masks, np.arange(images)[:, None, None]
    transform = {
        "narrow": lambda: 0.5 + 1e-5 * maps,
        "outlier": lambda: np.where(np.arange(maps.size).reshape(maps.shape) == 99, 1e30, maps),
        "bimodal": lambda: np.where(random.random(maps.shape) < 0.5, maps * 1e-3, maps * 1e3),
        "drift up": lambda: maps + 0.5 * run,
        "drift down": lambda: maps - 0.5 * run,
        "narrowing": lambda: maps * np.exp(-0.5 * run),
        "few values": lambda: np.round(maps),
        "constant": lambda: np.full_like(maps, -3.0),
        "mostly constant": lambda: np.where(random.random(maps.shape) < 0.9, 0.5, maps),
        "good": lambda: noise + 5 * masks,
        "bad": lambda: noise - 2 * masks,
        "sorted": lambda: np.sort(maps, axis=0),
    }
    return transform.get(kind, lambda: maps)().astype(dtype), masks

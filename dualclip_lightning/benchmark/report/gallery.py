"""Selection of the images of a category to show: the worst misses, the worst false alarm and the best hits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2.functional import resize, to_dtype

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.tensors import read_rgb

MISSES, FALSE_ALARMS, HITS = 2, 1, 2


class GalleryExample(NamedTuple):
    """One image with the maps that the methods produced for it."""

    what: str
    """Outcome: "missed", "false alarm" or "found"."""
    path: str
    image: NDArray[np.uint8] | None
    """Image [H, W, 3] resized to the shape of the maps; None if the file can no longer be read."""
    mask: NDArray[np.bool_]
    maps: Mapping[str, NDArray[np.float32]]
    """Maps [H, W] by method."""
    scores: Mapping[str, float]


def pick(images: pd.DataFrame) -> dict[str, str]:
    """Select the images of one category to show, and return their outcomes by path.

    Each method ranks the images, and the mean of the ranks decides. The lowest-ranked anomalous images are "missed",
    the highest-ranked ones "found", and the highest-ranked normal images "false alarm".

    Args:
        images: rows of one category and one seed: method, image_path, label, score.
    """
    place = images.groupby("method")["score"].rank(pct=True)
    mean = images.assign(place=place).groupby("image_path").agg(label=("label", "first"), place=("place", "mean"))
    mean = mean.sort_values(["place"], kind="stable")
    anomalous, normal = mean.index[mean["label"] == 1], mean.index[mean["label"] == 0]
    misses = anomalous[: min(MISSES, len(anomalous) // 2)]
    hits = anomalous[len(misses) :][::-1][:HITS]
    alarms = normal[::-1][:FALSE_ALARMS]
    return dict.fromkeys(misses, "missed") | dict.fromkeys(alarms, "false alarm") | dict.fromkeys(hits, "found")


def examples(images: pd.DataFrame, maps: Mapping[str, Mapping[str, NDArray[Any]]]) -> list[GalleryExample]:
    """Return the selected images of one category with the maps of every method that kept them."""
    places = {method: {str(p): i for i, p in enumerate(kept["image_path"])} for method, kept in maps.items()}
    known = set.intersection(*(set(each) for each in places.values())) if places else set()
    scores = images.set_index(["image_path", "method"])["score"]
    shown = []
    for path, what in pick(images[images["image_path"].isin(known)]).items():
        rows = {method: places[method][path] for method in maps}
        drawn = {method: np.asarray(maps[method]["maps"][row], np.float32) for method, row in rows.items()}
        first = next(iter(maps))
        mask = maps[first]["masks"][rows[first]]
        own = {method: float(scores[path, method]) for method in maps}
        shown.append(GalleryExample(what, path, read_image(path, mask.shape), mask, drawn, own))
    return shown


def read_image(path: str, size: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the image resized to (H, W), or None if no image can be read from the path."""
    try:
        image = read_rgb(path)
    except ImageError:
        return None
    return to_dtype(resize(image, list(size)), torch.uint8, scale=True).permute(1, 2, 0).numpy()

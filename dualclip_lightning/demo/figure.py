"""The demo's picture: images, masks, and maps drawn over the greyscale images, on one scale."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from dualclip_lightning.demo.data.assets import REAL
from dualclip_lightning.images.painting import mappable, overlay, to_grey


class Example(NamedTuple):
    """One image of a run with its map."""

    path: str
    score_map: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]

    @property
    def contrast(self) -> float:
        """Mean of the map inside the mask minus its mean outside."""
        return float(self.score_map[self.mask].mean() - self.score_map[~self.mask].mean())


Examples = Mapping[tuple[str, str], Mapping[str, Example]]
"""Every image with a defect, by category and variant, then by path."""


def choose_examples(examples: Examples, by: str) -> dict[tuple[str, str], Example]:
    """Return, for each category, the image whose map of one variant has the highest contrast.

    The choice uses masks, so the picture is an illustration, not a result.

    Args:
        examples: the same images for every variant of a category.
        by: the variant whose maps determine the choice.
    """
    paths = {
        category: max(own.values(), key=lambda example: (example.contrast, example.path)).path
        for (category, variant), own in examples.items()
        if variant == by and own
    }
    return {key: own[paths[key[0]]] for key, own in examples.items() if key[0] in paths}


def plot_examples(examples: Mapping[tuple[str, str], Example], variants: Sequence[str]) -> bytes:
    """Return a PNG with one row per category: image, mask, and the map of every variant over the greyscale image.

    All maps are on one scale, from the median of their scores to the largest.

    Masks and maps, which have the shape of the model's input, are stretched to that of their image.

    Args:
        examples: examples by category and variant.
        variants: the columns, in order.
    """
    categories = list(dict.fromkeys(category for category, _ in examples))
    scores = np.concatenate([example.score_map.ravel() for example in examples.values()])
    scale = float(np.median(scores)), float(scores.max())
    images = [_read(examples[category, variants[0]].path) for category in categories]
    heights = [image.height / image.width for image in images]
    figure = Figure(figsize=(1.7 * (2 + len(variants)), 1.5 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(categories), 2 + len(variants), squeeze=False, height_ratios=heights)
    for row, category, image in zip(axes, categories, images, strict=True):
        place = (0, image.width, image.height, 0)
        row[0].imshow(image)
        row[1].imshow(examples[category, variants[0]].mask, cmap="gray", vmin=0, vmax=1, extent=place)
        for axis, variant in zip(row[2:], variants, strict=True):
            score_map = examples[category, variant].score_map
            axis.imshow(overlay(to_grey(np.asarray(image), score_map.shape), score_map, scale), extent=place)
        row[0].set_ylabel(f"{category}\n(real)" if category in REAL else category, fontsize=8)
    for axis, title in zip(axes[0], ["image", "mask", *variants], strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(mappable(scale), ax=axes, shrink=0.5, label="anomaly score, median to highest")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _read(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")

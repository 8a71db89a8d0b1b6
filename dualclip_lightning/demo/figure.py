"""The demo's picture: images, masks and maps on one scale."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image


class Example(NamedTuple):
    """One image of a run with its map."""

    path: str
    score_map: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]

    @property
    def contrast(self) -> float:
        """Mean of the map inside the mask, less its mean outside."""
        return float(self.score_map[self.mask].mean() - self.score_map[~self.mask].mean())


Examples = Mapping[tuple[str, str], Mapping[str, Example]]
"""By category and variant, then by path: every image with a defect."""


def choose_examples(examples: Examples, by: str) -> dict[tuple[str, str], Example]:
    """For each category the image in which a viewer sees most: that of the highest contrast in the maps of a variant.

    The choice looks at masks, so the picture is an illustration and no result.

    Args:
        examples: the same images for every variant of a category.
        by: the variant whose maps count.
    """
    paths = {
        category: max(own.values(), key=lambda example: (example.contrast, example.path)).path
        for (category, variant), own in examples.items()
        if variant == by and own
    }
    return {key: own[paths[key[0]]] for key, own in examples.items() if key[0] in paths}


def draw_examples(examples: Mapping[tuple[str, str], Example], variants: Sequence[str]) -> bytes:
    """A PNG with one row per category: image, mask, and the map of every variant, on one scale from 0 to the largest.

    Args:
        examples: by category and variant.
        variants: the columns, in order.
    """
    categories = list(dict.fromkeys(category for category, _ in examples))
    highest = max(float(example.score_map.max()) for example in examples.values())
    figure = Figure(figsize=(1.7 * (2 + len(variants)), 1.5 * len(categories)), layout="constrained")
    axes = figure.subplots(len(categories), 2 + len(variants), squeeze=False)
    for row, category in zip(axes, categories, strict=True):
        example = examples[category, variants[0]]
        with Image.open(example.path) as image:
            row[0].imshow(image.convert("RGB"))
        row[1].imshow(example.mask, cmap="gray", vmin=0, vmax=1)
        for axis, variant in zip(row[2:], variants, strict=True):
            shown = axis.imshow(examples[category, variant].score_map, cmap="viridis", vmin=0, vmax=highest)
        row[0].set_ylabel(category)
    for axis, title in zip(axes[0], ["image", "mask", *variants], strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.5, label="anomaly score, 0 to the highest shown")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()

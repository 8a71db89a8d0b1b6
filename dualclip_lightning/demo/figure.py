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
    area: int
    """Pixels of its mask."""
    score_map: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


def draw_examples(examples: Mapping[tuple[str, str], Example], variants: Sequence[str]) -> bytes:
    """A PNG with a row a category: image, mask, and the map of every variant; one fixed scale from 0 to 1.

    Args:
        examples: by category and variant.
        variants: the columns, in order.
    """
    categories = list(dict.fromkeys(category for category, _ in examples))
    figure = Figure(figsize=(1.7 * (2 + len(variants)), 1.7 * len(categories)), layout="constrained")
    axes = figure.subplots(len(categories), 2 + len(variants), squeeze=False)
    for row, category in zip(axes, categories, strict=True):
        example = examples[category, variants[0]]
        with Image.open(example.path) as image:
            row[0].imshow(image.convert("RGB"))
        row[1].imshow(example.mask, cmap="gray", vmin=0, vmax=1)
        for axis, variant in zip(row[2:], variants, strict=True):
            shown = axis.imshow(examples[category, variant].score_map, cmap="viridis", vmin=0, vmax=1)
        row[0].set_ylabel(category)
    for axis, title in zip(axes[0], ["image", "mask", *variants], strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.5, label="anomaly score")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()

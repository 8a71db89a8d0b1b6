"""The views of an image as tensors, and the map of an image from those of its views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dualclip_lightning.images.picture import Pixels
from dualclip_lightning.predict.input.geometry import ViewPlan


def extract(pixels: Pixels, plan: ViewPlan, number: int, interpolation: str) -> Tensor:
    """Return one view of an image as a tensor [3, h, w] in [0, 1], not normalised.

    The view is taken from the image scaled to the lattice, with antialiasing as in Pillow and torchvision; only the
    part that affects the view is computed, in single precision.
    """
    spans = [
        _source_span(
            plan.corners[number][axis], plan.view[axis], plan.patch[axis], plan.lattice[axis], plan.image[axis]
        )
        for axis in (0, 1)
    ]
    (top, bottom, y), (left, right, x) = ((s.first, s.last, s) for s in spans)
    part = pixels[top:bottom, left:right]
    box = (x.box[0] - left, y.box[0] - top, x.box[1] - left, y.box[1] - top)
    resampling = Image.Resampling[interpolation.upper()]
    planes = [
        Image.fromarray(np.ascontiguousarray(part[..., channel], dtype=np.float32)).resize(
            (x.length, y.length), resampling, box=box
        )
        for channel in range(3)
    ]
    view = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
    view = view[:, y.skip : y.skip + y.wanted, x.skip : x.skip + x.wanted]
    return view / 255 if pixels.dtype == np.uint8 else view.clone()


class _Span(NamedTuple):
    """The pixels resampled along one side (first to last, the box within them) to `length`, and what is cut off."""

    first: int
    last: int
    box: tuple[float, float]
    length: int
    skip: int
    wanted: int


def _source_span(start: int, view: int, patch: int, lattice: int, side: int) -> _Span:
    """Return a view's pixels with a margin, because a box's own edge would be resampled without its neighbours."""
    total = lattice * patch
    scale = side / total
    margin = math.ceil(3 * max(1.0, 1 / scale))
    begin, end = max(0, start * patch - margin), min(total, (start + view) * patch + margin)
    low, high = begin * scale, min(float(side), end * scale)
    return _Span(math.floor(low), min(side, math.ceil(high)), (low, high), end - begin, start * patch - begin,
                 view * patch)  # fmt: skip


def patch_places(plan: ViewPlan, number: int) -> Tensor:
    """Return the centres of a view's patches as shares of the image's height and width: [h*w, 2]."""
    axes = [(torch.arange(plan.view[axis]) + plan.corners[number][axis] + 0.5) / plan.lattice[axis] for axis in (0, 1)]
    return torch.cartesian_prod(*axes)


def blend(plan: ViewPlan, maps: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the map of the whole image on its lattice, from the maps [h, w] of its views in order.

    Where views overlap, the map is their weighted mean; the weight of a view decreases towards its edges.
    """
    if len(plan.corners) == 1:
        return maps[0]
    height, width = plan.view
    weight = torch.outer(_taper(height), _taper(width)).to(maps[0])
    total = torch.zeros(plan.lattice).to(maps[0])
    mass = torch.zeros_like(total)
    for (row, column), score_map in zip(plan.corners, maps, strict=True):
        total[row : row + height, column : column + width] += weight * score_map
        mass[row : row + height, column : column + width] += weight
    return (total / mass).clamp(0, 1)


def _taper(length: int) -> Tensor:
    """Return weights along a side, highest in the middle and never zero."""
    places = torch.arange(length) + 0.5
    return torch.minimum(places, length - places)

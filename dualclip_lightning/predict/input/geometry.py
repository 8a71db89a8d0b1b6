"""How an image of any size meets a model of one size, and how its map finds back.

An image becomes views of one size. The patches of all views lie on one lattice over the image, so that the maps of
overlapping views are blended patch by patch, and memory for a map does not grow with the image but with its patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dualclip_lightning.images.picture import Pixels, size_text
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, draw
from dualclip_lightning.utilities.arguments import check_whole

Mode = Literal["keep", "squash", "tiles"]
Size = tuple[int, int]
MOST_STRETCH = 4
"""With the aspect ratio kept, an image has at most so many times the patches of the model's own size."""

MOST_CHANGE = 1.25
"""Of the aspect ratio, by whole patches, that goes without a word."""


class Drawer(NamedTuple):
    """Draws maps of patches at any size, so that at the size at which the model sees an image they are the method's."""

    drawing: MapDrawing = DRAWINGS["anoclip"]
    patch: Size = (16, 16)
    """Height and width of a patch in pixels of the image as the model sees it."""

    def __call__(self, patch_map: npt.NDArray[np.float32], size: Size) -> npt.NDArray[np.float32]:
        """The map [H, W] of an image from that of its patches [h, w]."""
        seen = patch_map.shape[0] * self.patch[0], patch_map.shape[1] * self.patch[1]
        maps = torch.from_numpy(np.array(patch_map, dtype=np.float32))[None]
        return draw(maps, size, self.drawing, seen)[0].numpy()

    def on_patches(self, patch_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The map drawn with one pixel a patch: [h, w]."""
        return self(patch_map, (patch_map.shape[0], patch_map.shape[1]))


DEFAULT_DRAWER = Drawer()


@dataclass(frozen=True)
class Geometry:
    """How images are brought to the model.

    Args:
        mode: "keep" keeps the aspect ratio, the short side at the model's, with interpolated position embeddings;
            "squash" resizes the whole image to the model's size, as published, which for a square image is the same;
            "tiles" cuts it into overlapping squares.
        tile: side of a tile in pixels of the image; None takes the model's, so that nothing is resized.
        overlap: of neighbouring tiles, as a share of their side in [0, 0.75].

    Raises:
        ValueError: an unknown mode, or a number out of range.

    Example:
        >>> from dualclip_lightning.predict import Geometry
        >>> Geometry("tiles", tile=512, overlap=0.5)
        Geometry(mode='tiles', tile=512, overlap=0.5)
    """

    mode: Mode = "keep"
    tile: int | None = None
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            msg = f"Expected geometry to be one of {', '.join(get_args(Mode))}, but got '{self.mode}'."
            raise ValueError(msg)
        if self.tile is not None:
            check_whole("tile", self.tile, 1, "It is a number of pixels.")
        if not 0 <= self.overlap <= 0.75:  # noqa: PLR2004
            msg = f"Expected overlap to be in [0, 0.75], but got {self.overlap}."
            raise ValueError(msg)


class ViewPlan(NamedTuple):
    """The views of one image."""

    image: Size
    """Height and width of the image in pixels."""
    patch: Size
    lattice: Size
    """Rows and columns of patches over the whole image; times the patch, the size to which it is scaled."""
    view: Size
    """Rows and columns of patches in a view."""
    corners: tuple[Size, ...]
    """Upper left patch of every view on the lattice."""

    def describe(self) -> str:
        """The geometry in words, to store beside a result."""
        view, whole = (size_text((n * self.patch[0], m * self.patch[1])) for n, m in (self.view, self.lattice))
        return view if len(self.corners) == 1 else f"{len(self.corners)} tiles of {view} on {whole}"


def plan_views(image: Size, geometry: Geometry, model: Size, patch: Size) -> ViewPlan:
    """Lay views over an image of any height and width.

    Args:
        image: height and width in pixels.
        geometry: what the user chose.
        model: height and width that the model was made for.
        patch: height and width of a patch.
    """
    grid = model[0] // patch[0], model[1] // patch[1]
    if geometry.mode == "squash":
        return ViewPlan(image, patch, grid, grid, ((0, 0),))
    if geometry.mode == "keep":
        lattice = _similar_grid(image, grid, model, patch)
        return ViewPlan(image, patch, lattice, lattice, ((0, 0),))
    scale = 1.0 if geometry.tile is None else min(model) / geometry.tile
    lattice = _nearest_grid(image, scale, patch)
    view = min(lattice[0], grid[0]), min(lattice[1], grid[1])
    rows, columns = (_starts(n, v, geometry.overlap) for n, v in zip(lattice, view, strict=True))
    return ViewPlan(image, patch, lattice, view, tuple((r, c) for r in rows for c in columns))


def _nearest_grid(image: Size, scale: float, patch: Size) -> Size:
    rows, columns = (max(1, round(side * scale / p)) for side, p in zip(image, patch, strict=True))
    return rows, columns


def limit_note(plan: ViewPlan, geometry: Geometry, model: Size) -> str:
    """A sentence for an image that is too long to have the model's size along its short side; else empty."""
    wanted = _nearest_grid(plan.image, _similar_scale(plan.image, model), plan.patch)
    if geometry.mode != "keep" or plan.lattice == wanted:
        return ""
    height, width = (n * p for n, p in zip(plan.lattice, plan.patch, strict=True))
    text = (
        f"so long that it is seen at {size_text((height, width))}, no more than {MOST_STRETCH} times the model's area"
    )
    change = (height / width) / (plan.image[0] / plan.image[1])
    kept = 1 / MOST_CHANGE <= change <= MOST_CHANGE
    return text if kept else f"{text}, with another aspect ratio; --geometry tiles keeps it"


def _similar_scale(image: Size, model: Size) -> float:
    return max(m / side for m, side in zip(model, image, strict=True))


def _similar_grid(image: Size, grid: Size, model: Size, patch: Size) -> Size:
    """The grid with the image's aspect ratio whose short side is the model's, or less where it would grow too large."""
    scale = _similar_scale(image, model)
    rows, columns = _nearest_grid(image, scale, patch)
    most = MOST_STRETCH * grid[0] * grid[1]
    if rows * columns > most:
        rows, columns = _nearest_grid(image, scale * math.sqrt(most / (rows * columns)), patch)
        short = min(rows, columns)  # one side at least 1, so that the other still may be too long
        rows, columns = min(rows, most // short), min(columns, most // short)
    return rows, columns


def _starts(length: int, view: int, overlap: float) -> list[int]:
    """First patch of every view along a side: evenly spread, overlapping by no less than asked."""
    step = max(1, math.floor(view * (1 - overlap)))
    count = 1 + math.ceil((length - view) / step)
    return [0] if count == 1 else [round(i * (length - view) / (count - 1)) for i in range(count)]


def extract(pixels: Pixels, plan: ViewPlan, number: int, interpolation: str) -> Tensor:
    """One view of an image as a tensor [3, h, w] in [0, 1], not normalised.

    The image counts as scaled to the lattice, antialiased as Pillow and torchvision do; only the part that the view
    can see is touched, in single precision.
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
    """Along one side: which pixels are resampled (first to last, the box within them) to `length`, what is cut off."""

    first: int
    last: int
    box: tuple[float, float]
    length: int
    skip: int
    wanted: int


def _source_span(start: int, view: int, patch: int, lattice: int, side: int) -> _Span:
    """A view's pixels with a margin, because a box's own edge would be resampled without its neighbours."""
    total = lattice * patch
    scale = side / total
    margin = math.ceil(3 * max(1.0, 1 / scale))
    begin, end = max(0, start * patch - margin), min(total, (start + view) * patch + margin)
    low, high = begin * scale, min(float(side), end * scale)
    return _Span(math.floor(low), min(side, math.ceil(high)), (low, high), end - begin, start * patch - begin,
                 view * patch)  # fmt: skip


def patch_places(plan: ViewPlan, number: int) -> Tensor:
    """Centres of a view's patches as shares of the image's height and width: [h*w, 2]."""
    axes = [(torch.arange(plan.view[axis]) + plan.corners[number][axis] + 0.5) / plan.lattice[axis] for axis in (0, 1)]
    return torch.cartesian_prod(*axes)


def blend(plan: ViewPlan, maps: Sequence[Tensor] | Tensor) -> Tensor:
    """The map of the whole image on its lattice, from the maps [h, w] of its views in order.

    Where views overlap their weighted mean counts, a view weighing less towards its edges.
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
    """Weights along a side, highest in the middle and never zero."""
    places = torch.arange(length) + 0.5
    return torch.minimum(places, length - places)

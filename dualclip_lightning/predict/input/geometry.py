"""Views of images of any size for a model with one input size, and the lattice of their maps.

An image is divided into views of equal size. The patches of all views lie on one lattice over the image, so that the
maps of overlapping views are blended patch by patch, and memory for a map grows with the patches, not with the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from dualclip_lightning.images.picture import size_text
from dualclip_lightning.utilities.arguments import check_whole

Mode = Literal["keep", "squash", "tiles"]
Size = tuple[int, int]
MOST_STRETCH = 4
"""Maximum number of patches of an image with its aspect ratio kept, as a multiple of those at the model's size."""

MOST_CHANGE = 1.25
"""Largest change of the aspect ratio, due to whole patches, without a note."""


@dataclass(frozen=True)
class Geometry:
    """The geometry with which images are passed to the model.

    Args:
        mode: "keep" keeps the aspect ratio, the short side at the model's, with interpolated position embeddings;
            "squash" resizes the whole image to the model's size, as published, which for a square image is the same;
            "tiles" cuts it into overlapping squares.
        tile: side of a tile in pixels of the image; None takes the model's, so that nothing is resized.
        overlap: overlap of neighbouring tiles, as a share of their side in [0, 0.75].

    Raises:
        ValueError: If the mode is unknown or a number is out of range.

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
    """Rows and columns of patches over the whole image; times the patch, this is the size to which it is scaled."""
    view: Size
    """Rows and columns of patches in a view."""
    corners: tuple[Size, ...]
    """Upper left patch of every view on the lattice."""

    def describe(self) -> str:
        """Return the geometry in words, to store with a result."""
        view, whole = (size_text((n * self.patch[0], m * self.patch[1])) for n, m in (self.view, self.lattice))
        return view if len(self.corners) == 1 else f"{len(self.corners)} tiles of {view} on {whole}"

    def in_pixels(self) -> ViewPlan:
        """Return the same views on the pixels of the scaled image as lattice, for maps with one value per pixel."""
        lattice, view, *corners = ((n * self.patch[0], m * self.patch[1])
                                   for n, m in (self.lattice, self.view, *self.corners))  # fmt: skip
        return ViewPlan(self.image, (1, 1), lattice, view, tuple(corners))


def plan_views(image: Size, geometry: Geometry, model: Size, patch: Size) -> ViewPlan:
    """Lay views over an image of any height and width.

    Args:
        image: height and width in pixels.
        geometry: geometry that the user chose.
        model: height and width of the model's input.
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
    """Return a note for an image that is too long for the model's size along its short side; otherwise empty."""
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
    """Return the grid with the image's aspect ratio and the model's short side, or a smaller one if it is too large."""
    scale = _similar_scale(image, model)
    rows, columns = _nearest_grid(image, scale, patch)
    most = MOST_STRETCH * grid[0] * grid[1]
    if rows * columns > most:
        rows, columns = _nearest_grid(image, scale * math.sqrt(most / (rows * columns)), patch)
        short = min(rows, columns)  # one side at least 1, so that the other still may be too long
        rows, columns = min(rows, most // short), min(columns, most // short)
    return rows, columns


def _starts(length: int, view: int, overlap: float) -> list[int]:
    """Return the first patch of every view along a side; views are evenly spaced with at least the given overlap."""
    step = max(1, math.floor(view * (1 - overlap)))
    count = 1 + math.ceil((length - view) / step)
    return [0] if count == 1 else [round(i * (length - view) / (count - 1)) for i in range(count)]

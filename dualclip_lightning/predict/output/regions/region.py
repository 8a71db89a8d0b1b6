"""Connected regions of the pixels that are marked in an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dualclip_lightning.predict.scoring.thresholds import marked

Mask = npt.NDArray[np.bool_]
NEIGHBOURS = np.ones((3, 3), dtype=bool)
"""Pixels that touch at a side or a corner are connected (8-connectivity)."""


@dataclass(frozen=True)
class Region:
    """A connected region of anomalous pixels.

    Coordinates are those of the original image as it is displayed, after any EXIF rotation, whichever geometry the
    model saw it with. x counts columns from the left and y rows from the top, both from 0.

    Args:
        x: first column.
        y: first row.
        width: number of columns.
        height: number of rows.
        area: number of pixels.
        centroid: mean x and y of the pixels; the centre of the first pixel of the image is (0, 0).
        peak: highest value of the map in the region.
        mean: mean value of the map over the region.
        pixels: mask [height, width] of the region within its box.

    Example:
        >>> import numpy as np
        >>> from dualclip_lightning.predict import Prediction, Threshold
        >>> patch_map = np.zeros((4, 4), np.float32)
        >>> patch_map[1, 2] = 0.9
        >>> prediction = Prediction("01.png", 0.9, patch_map, size=(64, 64), threshold=Threshold(0.05))
        >>> (region,) = prediction.regions
        >>> region.box, bool(region.area == prediction.mask.sum()), bool(region.peak == prediction.map.max())
        ((11, 0, 53, 53), True, True)
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    centroid: tuple[float, float]
    peak: float
    mean: float
    pixels: Mask = field(repr=False, compare=False)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The smallest rectangle around the region: x, y, width and height."""
        return self.x, self.y, self.width, self.height

    @property
    def polygon(self) -> npt.NDArray[np.int32]:
        """The outline [N, 2] along the edges of the pixels, as corners (x, y); holes are not cut out.

        The first pixel of an image has the corners (0, 0), (1, 0), (1, 1) and (0, 1), as in COCO's polygons.
        """
        # OpenCV follows the centres of border pixels. In a mask of twice the size every pixel has one centre for each
        # of its corners, and rounding moves these to the corner.
        doubled = self.pixels.repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
        (outline,), _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        corners = (outline[:, 0] + 1) // 2 + (self.x, self.y)
        return corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)].astype(np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return the region as plain data, without its pixels: box, area, centroid, peak and mean."""
        return {
            "box": list(self.box),
            "area": self.area,
            "centroid": [round(each, 2) for each in self.centroid],
            "peak": round(self.peak, 6),
            "mean": round(self.mean, 6),
        }


def find_regions(values: npt.NDArray[np.float32], level: float | None, min_area: int = 0) -> list[Region]:
    """Return the regions of the marked pixels, the highest peak first.

    Args:
        values: map [H, W] at the size of the image.
        level: value above which pixels are marked (`Threshold.level`); None for a normal image, which has no regions.
        min_area: number of pixels below which a region is left out. If all are smaller, the one with the highest peak
            is kept, so that an anomalous image always has a region.
    """
    mask = marked(values, level)
    labels, _ = ndimage.label(mask, NEIGHBOURS)
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    regions = sorted((_region(values, labels, number, box) for number, box in boxes), key=lambda each: -each.peak)
    return [region for region in regions if region.area >= min_area] or regions[:1]


def _region(
    values: npt.NDArray[np.float32], labels: npt.NDArray[np.int32], number: int, box: tuple[slice, slice]
) -> Region:
    rows, columns = box
    pixels = labels[box] == number
    inside, (ys, xs) = values[box][pixels], np.nonzero(pixels)
    return Region(
        x=columns.start,
        y=rows.start,
        width=columns.stop - columns.start,
        height=rows.stop - rows.start,
        area=int(inside.size),
        centroid=(columns.start + float(xs.mean()), rows.start + float(ys.mean())),
        peak=float(inside.max()),
        mean=float(inside.mean(dtype=np.float64)),
        pixels=pixels,
    )


def marked_pixels(values: npt.NDArray[np.float32], level: float | None, min_area: int = 0) -> Mask:
    """Return the mask [H, W] of all pixels in the regions that `find_regions` returns."""
    if min_area <= 1:
        return marked(values, level)
    mask = np.zeros(values.shape, dtype=bool)
    for region in find_regions(values, level, min_area):
        mask[region.y : region.y + region.height, region.x : region.x + region.width] |= region.pixels
    return mask


def shrink_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return a mask at another size [h, w]; a pixel is marked if any of the pixels that it stands for is."""
    if mask.shape == size:
        return mask
    for axis, side in enumerate(size):
        # Where the mask is enlarged, indices repeat, and reduceat returns the single pixel.
        first = np.arange(side) * mask.shape[axis] // side
        mask = np.logical_or.reduceat(mask, first, axis=axis)
    return mask

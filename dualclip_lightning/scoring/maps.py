"""From the patch grid back to pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from torch import Tensor

from dualclip_lightning.utilities.arguments import check_from_zero, check_names, check_whole

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MapDrawing:
    """How a map of patches becomes one of pixels: averaged over neighbours, enlarged bilinearly, then smoothed.

    Args:
        average: side of the square of patches over which each is averaged first, odd; those on a border count beyond
            it. 1 for none.
        align_corners: whether the first and the last pixel of a side have the values of the first and the last patch;
            False puts the value of a patch in the middle of its pixels.
        sigma: standard deviation of a Gaussian, in pixels of the image as the model sees it; 0 for none.

    Raises:
        ValueError: a value out of range.

    Example:
        >>> from dualclip_lightning.scoring import MapDrawing
        >>> MapDrawing(average=3, sigma=4.0)
        MapDrawing(average=3, align_corners=False, sigma=4.0)
    """

    average: int = 1
    align_corners: bool = False
    sigma: float = 0.0

    def __post_init__(self) -> None:
        check_whole("average", self.average, 1, "AnoCLIP has 3; 1 does not average.")
        if self.average % 2 == 0:
            msg = f"Expected average to be odd, but got {self.average}. AnoCLIP has 3; 1 does not average."
            raise ValueError(msg)
        if not isinstance(self.align_corners, bool):
            msg = f"Expected align_corners to be true or false, but got {self.align_corners!r}."
            raise ValueError(msg)  # noqa: TRY004 - the user's value is wrong, not the program's type
        check_from_zero("sigma", self.sigma, "CLIP-AD has 8; 0 does not smooth.")

    @classmethod
    def from_choice(cls, drawing: Any) -> MapDrawing:
        """The drawing that a user named, or described by some of its values over those that change nothing.

        Raises:
            ValueError: an unknown name or value.
        """
        if isinstance(drawing, str) and drawing in DRAWINGS:
            return DRAWINGS[drawing]
        if not isinstance(drawing, Mapping):
            msg = f"Expected drawing to be one of {', '.join(DRAWINGS)}, or values such as {{'sigma': 4}}, but got "
            raise ValueError(f"{msg}{drawing!r}.")  # noqa: TRY004 - as above
        check_names("drawing", drawing, [field.name for field in fields(cls)])
        return cls(**drawing)


DRAWINGS: Mapping[str, MapDrawing] = {
    "anoclip": MapDrawing(average=3, align_corners=True),
    "clip_ad": MapDrawing(sigma=8.0),
    "musc": MapDrawing(align_corners=True),
    "winclip": MapDrawing(),
}
"""Those of released code: of AnoCLIP (arXiv 2308.15939), CLIP-AD (2311.00453) and MuSc (2401.16753) their authors', of
WinCLIP (2303.14814) the public re-implementations', which agree in it."""


def draw(
    maps: Tensor,
    size: tuple[int, int],
    drawing: MapDrawing = DRAWINGS["winclip"],
    seen: tuple[int, int] | None = None,
) -> Tensor:
    """Maps of pixels [B, H, W] from maps of patches [B, h, w], within the range of each averaged map.

    Every step is linear and works along one side: it is a matrix a side. Computed in single precision, also under
    autocast.

    Args:
        maps: in any range.
        size: H and W.
        drawing: the steps.
        seen: height and width of the image as the model sees it, whose pixels `sigma` counts; None for `size`.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import MapDrawing, draw
        >>> draw(torch.tensor([[[0.0, 1.0]]]), size=(1, 4), drawing=MapDrawing(align_corners=True))
        tensor([[[0.0000, 0.3333, 0.6667, 1.0000]]])
    """
    averages, enlargements = [], []
    for patches, pixels, own in zip(maps.shape[1:], size, seen or size, strict=True):
        averages.append(_average_matrix(patches, drawing.average))
        sigma = drawing.sigma * pixels / own
        enlargements.append(_enlarging_matrix(patches, pixels, drawing.align_corners, sigma))
    return _along_sides(_along_sides(maps.float(), *averages), *enlargements)


def _along_sides(maps: Tensor, rows: Matrix, columns: Matrix) -> Tensor:
    """Means of rows and of columns of maps [B, h, w], with the weights of each in a row that sums to 1.

    They never leave the range of a map. Rounding alone would, by one unit in the last place, and torchmetrics takes
    the sigmoid of a batch with any score above 1.
    """
    with torch.autocast(maps.device.type, enabled=False):
        means = torch.from_numpy(rows).to(maps) @ maps @ torch.from_numpy(columns).to(maps).T
    return means.clamp(maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True))


@lru_cache(maxsize=8)
def _average_matrix(patches: int, side: int) -> Matrix:
    """Weights [patches, patches] of the mean over neighbours, the ends being continued."""
    return uniform_filter1d(np.eye(patches), side, axis=0, mode="nearest")


@lru_cache(maxsize=8)
def _enlarging_matrix(patches: int, pixels: int, align_corners: bool, sigma: float) -> Matrix:
    """Weights [pixels, patches] of linear interpolation between the centres of patches, smoothed over pixels."""
    if align_corners:
        places = np.linspace(0, patches - 1, pixels)
    else:
        places = (np.arange(pixels) + 0.5) * patches / pixels - 0.5
    nearness = 1 - np.abs(places.clip(0, patches - 1)[:, None] - np.arange(patches))
    return gaussian_filter1d(nearness.clip(min=0), sigma, axis=0) if sigma else nearness.clip(min=0)

"""Drawing of maps: from the patch grid to pixels."""

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

from dualclip_lightning.scoring.precision import single_precision
from dualclip_lightning.utilities.arguments import check_from_zero, check_names, check_whole

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MapDrawing:
    """Settings of drawing: a map of patches is averaged over neighbours, enlarged bilinearly, then smoothed.

    Args:
        average: odd side of the square of patches over which each patch is averaged first, with borders replicated;
            1 for no averaging.
        align_corners: if true, the first and last pixels of a side have the values of the first and last patches; if
            false, the value of a patch is at the centre of its pixels.
        sigma: standard deviation of a Gaussian, in pixels of the model's input; 0 for no smoothing.
        radius: distance at which the Gaussian ends, in pixels of the model's input, with borders mirrored as OpenCV
            does; None for four standard deviations, with borders as in scipy.

    Raises:
        ValueError: a value is out of range.

    Example:
        >>> from dualclip_lightning.scoring import MapDrawing
        >>> MapDrawing(average=3, sigma=4.0)
        MapDrawing(average=3, align_corners=False, sigma=4.0, radius=None)
    """

    average: int = 1
    align_corners: bool = False
    sigma: float = 0.0
    radius: int | None = None

    def __post_init__(self) -> None:
        check_whole("average", self.average, 1, "AnoCLIP has 3; 1 does not average.")
        if self.average % 2 == 0:
            msg = f"Expected average to be odd, but got {self.average}. AnoCLIP has 3; 1 does not average."
            raise ValueError(msg)
        if not isinstance(self.align_corners, bool):
            msg = f"Expected align_corners to be true or false, but got {self.align_corners!r}."
            raise ValueError(msg)  # noqa: TRY004 - the user's value is wrong, not the program's type
        check_from_zero("sigma", self.sigma, "CLIP-AD has 8; 0 does not smooth.")
        if self.radius is not None:
            check_whole("radius", self.radius, 1, "SubspaceAD has 1; None is four standard deviations.")

    @classmethod
    def from_choice(cls, drawing: Any) -> MapDrawing:
        """Convert the argument `drawing`, a name or a mapping of values; missing values disable their step.

        Raises:
            ValueError: an unknown name or an invalid value.
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
    "anomalydino": MapDrawing(sigma=4.0),
    "clip_ad": MapDrawing(sigma=8.0),
    "musc": MapDrawing(align_corners=True),
    "subspacead": MapDrawing(sigma=4.0, radius=1),
    "winclip": MapDrawing(),
}
"""Drawings of released code: that of the authors for AnoCLIP (arXiv 2308.15939), AnomalyDINO (2405.14529), CLIP-AD
(2311.00453), MuSc (2401.16753) and SubspaceAD (2602.23013), and that of the public re-implementations, which agree, for
WinCLIP (2303.14814)."""


def draw(
    maps: Tensor,
    size: tuple[int, int],
    drawing: MapDrawing = DRAWINGS["winclip"],
    seen: tuple[int, int] | None = None,
) -> Tensor:
    """Draw maps of pixels [B, H, W] from maps of patches [B, h, w], within the range of each averaged map.

    Every step is linear and separable, so that all steps together are one matrix per side. Computed in single
    precision, also under autocast.

    Args:
        maps: [B, h, w], with values in any range.
        size: H and W.
        drawing: settings of the steps.
        seen: height and width of the model's input, in whose pixels `sigma` is measured; None for `size`.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import MapDrawing, draw
        >>> draw(torch.tensor([[[0.0, 1.0]]]), size=(1, 4), drawing=MapDrawing(align_corners=True))
        tensor([[[0.0000, 0.3333, 0.6667, 1.0000]]])
    """
    averages, enlargements = [], []
    for patches, pixels, own in zip(maps.shape[1:], size, seen or size, strict=True):
        averages.append(torch.from_numpy(average_matrix(patches, drawing.average)))
        sigma = drawing.sigma * pixels / own
        radius = None if drawing.radius is None else max(1, round(drawing.radius * pixels / own))
        enlargements.append(torch.from_numpy(_enlarging_matrix(patches, pixels, drawing.align_corners, sigma, radius)))
    return along_sides(along_sides(maps.float(), *averages), *enlargements)


def along_sides(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Average maps [B, h, w] along rows and columns with matrices of weights whose rows sum to 1.

    The result is clamped to the range of each map: rounding could exceed it by one unit in the last place, and
    torchmetrics applies a sigmoid to a batch with any score above 1.
    """
    with single_precision(maps.device):
        means = rows.to(maps) @ maps @ columns.to(maps).T
    return means.clamp(maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True))


@lru_cache(maxsize=8)
def average_matrix(patches: int, side: int) -> Matrix:
    """Return the weights [patches, patches] of the mean over neighbours, with the ends replicated."""
    return uniform_filter1d(np.eye(patches), side, axis=0, mode="nearest")


@lru_cache(maxsize=8)
def _enlarging_matrix(patches: int, pixels: int, align_corners: bool, sigma: float, radius: int | None) -> Matrix:
    """Return the weights [pixels, patches] of linear interpolation between patch centres, smoothed over pixels."""
    if align_corners:
        places = np.linspace(0, patches - 1, pixels)
    else:
        places = (np.arange(pixels) + 0.5) * patches / pixels - 0.5
    nearness = 1 - np.abs(places.clip(0, patches - 1)[:, None] - np.arange(patches))
    weights = nearness.clip(min=0)
    if not sigma:
        return weights
    return gaussian_filter1d(weights, sigma, axis=0, mode="reflect" if radius is None else "mirror", radius=radius)

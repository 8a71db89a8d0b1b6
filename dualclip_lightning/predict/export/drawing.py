"""Drawing of maps inside a graph, at sizes that are known only when it runs; the same steps as in `scoring.draw`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dualclip_lightning.predict.input.geometry import Size
from dualclip_lightning.scoring import MapDrawing
from dualclip_lightning.scoring.maps import along_sides, average_matrix


def draw_at(maps: Tensor, size: Sequence[int], drawing: MapDrawing, seen: Size) -> Tensor:
    """Draw maps of pixels [N, H, W] from maps of patches [N, h, w].

    Args:
        maps: [N, h, w].
        size: H and W.
        drawing: settings of the steps.
        seen: height and width of the model's input.
    """
    averages = [torch.from_numpy(average_matrix(patches, drawing.average)) for patches in maps.shape[1:]]
    sides = zip(maps.shape[1:], size, seen, strict=True)
    return along_sides(along_sides(maps, *averages), *(_enlarging(*side, drawing) for side in sides))


def reaches_too_far(drawing: MapDrawing, seen: Size) -> bool:
    """Return whether the Gaussian of a drawing is longer than an image, which `draw_at` does not mirror as often."""
    reach = 4 * drawing.sigma if drawing.radius is None else drawing.radius
    return drawing.sigma > 0 and reach >= min(seen)


def _enlarging(patches: int, pixels: int, own: int, drawing: MapDrawing) -> Tensor:
    """Return the weights [pixels, patches] of linear interpolation between patch centres, smoothed over pixels."""
    places, parts = torch.arange(pixels), _parts(pixels, drawing)  # whole numbers are not subject to rounding
    numerators = places * (patches - 1) if drawing.align_corners else (2 * places + 1) * patches - pixels
    inside = torch.minimum(numerators.clamp(min=0), (torch.ones_like(places) * parts) * (patches - 1))
    distance = (inside[:, None] - torch.arange(patches) * parts).abs() / parts
    weights = (1 - distance).clamp(min=0)
    return _gaussian(pixels, own, drawing) @ weights if drawing.sigma else weights


def _parts(pixels: int, drawing: MapDrawing) -> Any:
    """Return the number of parts of a patch's side in which the centres of pixels are counted."""
    return torch.sym_max(pixels - 1, 1) if drawing.align_corners else 2 * pixels


def _gaussian(pixels: int, own: int, drawing: MapDrawing) -> Tensor:
    """Return the weights [pixels, pixels] of a Gaussian that ends at a radius, with the image mirrored at its ends."""
    here, there = torch.arange(pixels)[:, None], torch.arange(pixels)
    unit = torch.ones(()) * pixels / own
    if drawing.radius is None:  # the pixels at the ends are repeated
        reach = (4 * drawing.sigma * unit + 0.5).floor()
        copies = [here - there, here + there + 1, 2 * pixels - 1 - here - there]
    else:  # they are not
        reach = (drawing.radius * unit).round().clamp(min=1)
        beyond = 2 * pixels  # farther than the Gaussian reaches
        copies = [
            here - there,
            torch.where(there > 0, here + there, beyond),
            torch.where(there < pixels - 1, 2 * (pixels - 1) - here - there, beyond),
        ]
    weights = sum((_bell(copy / unit, drawing.sigma) * (copy.abs() <= reach) for copy in copies), torch.zeros(()))
    return weights / weights.sum(dim=1, keepdim=True)


def _bell(distance: Tensor, sigma: float) -> Tensor:
    return torch.exp(-0.5 * (distance / sigma) ** 2)

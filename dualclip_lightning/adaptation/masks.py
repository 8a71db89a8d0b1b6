"""Masks of random shape and scale from Perlin noise, as in DRAEM (arXiv 2108.07610, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data.utils.generators.perlin import generate_perlin_noise
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import rotate

from dualclip_lightning.scoring.precision import single_precision

NOISE_THRESHOLD = 0.5
"""Noise above this value is masked; given by DRAEM."""
MOST_CELLS = 32
"""Noise has 1, 2, 4, ... cells per side, up to this number; given by DRAEM."""
ATTEMPTS = 8
_ONE_THREAD = Lock()


def perlin_mask(size: tuple[int, int], seed: int, area: tuple[float, float]) -> Tensor:
    """Draw a boolean mask [H, W] whose share of true pixels lies within `area`.

    Noise of random scale and rotation is thresholded. If the share lies outside, another noise is tried; after a few
    attempts the highest pixels of the last one are taken. A mask is never empty and never full.

    Args:
        size: height and width in pixels.
        seed: seed of all random choices.
        area: smallest and largest share of the image, above 0 and below 1.
    """
    with _own_generator(seed), _single_precision():
        for _ in range(ATTEMPTS):
            noise = _rotated_noise(size)
            mask = noise > NOISE_THRESHOLD
            if area[0] <= mask.float().mean() <= area[1]:
                return mask
        share = float(torch.empty(1).uniform_(*area))
    return _highest(noise, min(max(1, round(share * noise.numel())), noise.numel() - 1))


@contextmanager
def _own_generator(seed: int) -> Iterator[None]:
    """Seed the CPU's global generator, from which anomalib draws its noise, and restore its state afterwards.

    Only one thread can be in this context at a time, because all threads share that generator.
    """
    with _ONE_THREAD, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        yield


@contextmanager
def _single_precision() -> Iterator[None]:
    """Use single precision, so that masks do not depend on Lightning's default dtype or autocast."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with single_precision(torch.device("cpu")):
            yield
    finally:
        torch.set_default_dtype(default)


def _rotated_noise(size: tuple[int, int]) -> Tensor:
    """Draw Perlin noise [H, W] of random scale and rotation.

    Drawing at half the resolution takes a quarter of the time, and the difference is negligible at the scale of cells
    and patches.
    """
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    noise = generate_perlin_noise(*half, scale=_random_cells(half), device=torch.device("cpu"))
    angle = float(torch.empty(1).uniform_(-90, 90))
    noise = rotate(noise[None], angle, interpolation=InterpolationMode.BILINEAR)
    return F.interpolate(noise[None], size, mode="bilinear", align_corners=False)[0, 0]


def _random_cells(size: tuple[int, int]) -> tuple[int, int]:
    """Draw the number of cells along each side, a power of two that leaves a cell at least two pixels."""
    rows, columns = (2 ** int(torch.randint(0, min(MOST_CELLS, max(1, side // 2)).bit_length(), (1,))) for side in size)
    return rows, columns


def _highest(noise: Tensor, count: int) -> Tensor:
    mask = torch.zeros(noise.numel(), dtype=torch.bool)
    mask[noise.flatten().topk(count).indices] = True
    return mask.view_as(noise)


def patch_targets(masks: Tensor, grid: tuple[int, int], share: float) -> Tensor:
    """Mark the anomalous patches [B, h, w]: those of which more than a given share is masked.

    An image with a mask has at least one anomalous patch, the one with the largest masked share, and at least one
    normal patch.

    Args:
        masks: [B, H, W], booleans.
        grid: rows and columns of patches.
        share: share of a patch, in [0, 1).
    """
    covered = F.adaptive_avg_pool2d(masks.float().unsqueeze(1), grid).flatten(1)
    most, least = covered.argmax(dim=1, keepdim=True), covered.argmin(dim=1, keepdim=True)
    targets = covered > share
    targets.scatter_(1, most, covered.gather(1, most) > 0)
    targets.scatter_(1, least, targets.gather(1, least) & ~targets.all(dim=1, keepdim=True))
    return targets.unflatten(1, grid)

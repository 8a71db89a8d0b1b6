"""Resizing of images by matrices, with the weights of Pillow.

A kernel that widens with the reduction lies around the centre of each pixel; its weights within the image are divided
by their sum. PyTorch's resizing with antialiasing gives the same, but not every runtime of exported models has it, and
matrices also serve images whose size is known only when the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision


def resize(images: Tensor, size: Sequence[int], interpolation: str) -> Tensor:
    """Resize images [N, C, H, W] of floats to [N, C, *size], in single precision, as `Image.resize` of Pillow does.

    Args:
        images: [N, C, H, W].
        size: height and width.
        interpolation: "bicubic" or "bilinear".
    """
    kernel = KERNELS[interpolation]
    rows, columns = (_weights(images.shape[axis], size[axis], kernel).to(images.device) for axis in (-2, -1))
    with single_precision(images.device):
        return (rows @ images.float() @ columns.T).to(images.dtype)


def _weights(pixels: int, wanted: int, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights [wanted, pixels] of one side."""
    source, target = torch.arange(pixels), torch.arange(wanted)[:, None]
    # The distance of two centres, times 2 * pixels * wanted, is a whole number, and not subject to rounding.
    distance = ((2 * source + 1) * wanted - (2 * target + 1) * pixels).abs()
    longest: Any = torch.sym_max(pixels, wanted)
    weights = kernel(distance / (2 * longest))
    return weights / weights.sum(dim=1, keepdim=True)


def _bilinear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _bicubic(distance: Tensor) -> Tensor:
    """Return the kernel of Keys (1981) with a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))  # noqa: PLR2004 - its support


KERNELS: Mapping[str, Callable[[Tensor], Tensor]] = {"bicubic": _bicubic, "bilinear": _bilinear}

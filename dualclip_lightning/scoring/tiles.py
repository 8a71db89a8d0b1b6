"""Two square tiles that cover an oblong image, and the joining of their maps (as in AnoVL's `vis_test.py` for VisA)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def cut_tiles(images: Tensor) -> Tensor:
    """Cut squares at both ends of the longer side: [B, 3, H, W] -> [B, 2, 3, S, S], where S is the shorter side.

    Raises:
        ValueError: the longer side is more than twice the shorter one, so that two squares do not cover the image.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import cut_tiles
        >>> cut_tiles(torch.zeros(2, 3, 48, 80)).shape
        torch.Size([2, 2, 3, 48, 48])
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    if max(height, width) > 2 * side:
        msg = (
            f"Two square tiles cover images of at most 2 to 1, but got {height}x{width}. "
            "Set resize='squash' or resize='crop'."
        )
        raise ValueError(msg)
    return torch.stack([images[..., :side, :side], images[..., -side:, -side:]], dim=1)


def join_tiles(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """Join the maps of both tiles, with their mean where they overlap: [..., 2, S, S] -> [..., H, W].

    Args:
        tiles: maps of the tiles from `cut_tiles`.
        size: H and W; the shorter is S.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import join_tiles
        >>> join_tiles(torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]), size=(2, 3))
        tensor([[1.0000, 0.5000, 0.0000],
                [1.0000, 0.5000, 0.0000]])
    """
    down, right = size[0] - tiles.shape[-2], size[1] - tiles.shape[-1]
    parts = torch.stack([tiles, torch.ones_like(tiles)])
    first, second = parts.unbind(dim=-3)
    total, count = F.pad(first, (0, right, 0, down)) + F.pad(second, (right, 0, down, 0))
    return total / count

"""WinCLIP's window embeddings: the tower run on small windows of patches, class token first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower

WINDOW_TOKENS = 4096
"""About how many window tokens go through the tower at once: it bounds memory, and small parts stay in the cache."""


class WindowFeatures(NamedTuple):
    """What WinCLIP reads of a batch."""

    class_embedding: Tensor
    """[B, D] of the whole image, not normalised."""
    patch_tokens: Tensor
    """[B, h, w, C], the last block's, after `ln_post` and without the projection."""
    window_embeddings: tuple[Tensor, ...]
    """For each scale [B, h', w', D], one embedding a place of the window, not normalised."""


class WindowEncoder(nn.Module):
    """Embeddings of an image and of all its square windows (WinCLIP, arXiv 2303.14814, section 4.2).

    A window embedding is the class embedding of the tower run on the class token and the window's patches alone. The
    patches keep their position embeddings, so that a window over all patches gives the image embedding. Windows share
    the first block's query-key-value projection, and the last block computes class tokens alone.

    Args:
        visual: an unmodified open_clip VisionTransformer; it is read, never changed.
        scales: sides of the windows in patches; a window larger than the image is cut to it.

    Raises:
        ValueError: an unsupported tower, or a scale below 1.
    """

    def __init__(self, visual: nn.Module, scales: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        if not scales or min(scales) < 1:
            msg = f"Expected scales to be window sides of at least 1 patch, but got {list(scales)}."
            raise ValueError(msg)
        self.scales = tuple(scales)

    def forward(self, images: Tensor) -> WindowFeatures:
        """Encode images [B, 3, H, W], preprocessed; H and W are multiples of the patch, square or not.

        Raises:
            ValueError: a side that is not a multiple of the patch.
        """
        tokens, grid = tower.embed(self.visual, images)
        first, *others = self.visual.transformer.resblocks
        qkv = tower.project_qkv(first.attn, first.ln_1(tokens))
        x = tower.finish_block(first, tokens, tower.attend(first.attn, *qkv))
        for block in others:
            x = tower.run_block(block, x)
        x = self.visual.ln_post(x)
        return WindowFeatures(
            class_embedding=x[:, 0] if self.visual.proj is None else x[:, 0] @ self.visual.proj,
            patch_tokens=x[:, 1:].unflatten(1, grid),
            window_embeddings=tuple(self._windows(tokens, qkv, grid, scale) for scale in self.scales),
        )

    def _windows(self, tokens: Tensor, qkv: Sequence[Tensor], grid: tuple[int, int], scale: int) -> Tensor:
        """[B, h', w', D] for one scale."""
        index, places = window_index(grid, scale)
        index = index.to(tokens.device)
        size = max(1, WINDOW_TOKENS // (len(tokens) * index.shape[1]))
        parts = [self._encode(tokens, qkv, part) for part in index.split(size)]
        return torch.cat(parts, dim=1).unflatten(1, places)

    def _encode(self, tokens: Tensor, qkv: Sequence[Tensor], index: Tensor) -> Tensor:
        """Embeddings [B, W, D] of windows given by their tokens [W, 1 + s*s]."""
        first, *others = self.visual.transformer.resblocks
        x = tokens[:, index].flatten(0, 1)
        q, k, v = (part[:, :, index].transpose(1, 2).flatten(0, 1) for part in qkv)
        x = tower.finish_block(first, x, tower.attend(first.attn, q, k, v))
        for block in others[:-1]:
            x = tower.run_block(block, x)
        for last in others[-1:]:  # a tower of one block has none
            x = tower.run_class_block(last, x)
        return tower.project_out(self.visual, x[:, 0]).unflatten(0, (len(tokens), len(index)))


def window_index(grid: tuple[int, int], scale: int) -> tuple[Tensor, tuple[int, int]]:
    """Tokens [W, 1 + s*s] of every window of a patch grid, the class token first, and the places (h', w')."""
    sides = min(scale, grid[0]), min(scale, grid[1])
    numbers = torch.arange(1, grid[0] * grid[1] + 1).view(grid)
    windows = numbers.unfold(0, sides[0], 1).unfold(1, sides[1], 1)
    places = windows.shape[0], windows.shape[1]
    flat = windows.reshape(places[0] * places[1], -1)
    return torch.cat([flat.new_zeros(len(flat), 1), flat], dim=1), places

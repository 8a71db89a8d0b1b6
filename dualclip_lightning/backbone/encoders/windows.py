"""WinCLIP's window embeddings: the tower run on small windows of patches, class token first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualclip_lightning.backbone.encoders import tower

WINDOW_TOKENS = 4096
"""Approximate number of window tokens per forward pass, which limits memory; small batches stay in the cache."""


class WindowFeatures(NamedTuple):
    """Features of a batch for WinCLIP."""

    class_embedding: Tensor
    """Class embeddings [B, D] of whole images, not normalised."""
    patch_tokens: Tensor
    """Patch tokens [B, h, w, C] of the last block, after `ln_post` and without the projection."""
    window_embeddings: tuple[Tensor, ...]
    """Window embeddings [B, h', w', D] for each scale, one per position of the window, not normalised."""


class WindowEncoder(nn.Module):
    """Encoder for an image and all its square windows (WinCLIP, arXiv 2303.14814, section 4.2).

    A window embedding is the class embedding of the tower, run on only the class token and the window's patches. The
    patches keep their position embeddings, so that a window over all patches yields the image embedding. Windows share
    the first block's query-key-value projection, and the last block computes only class tokens.

    Args:
        visual: an unmodified open_clip VisionTransformer, which is not changed.
        scales: sides of the windows in patches; a window larger than the image is cropped to it.

    Raises:
        ValueError: the tower is unsupported, or a scale is below 1.
    """

    def __init__(self, visual: nn.Module, scales: Sequence[int] = (2, 3)) -> None:
        super().__init__()
        self.visual = tower.check_tower(visual)
        if not scales or min(scales) < 1:
            msg = f"Expected scales to be window sides of at least 1 patch, but got {list(scales)}."
            raise ValueError(msg)
        self.scales = tuple(scales)

    def forward(self, images: Tensor) -> WindowFeatures:
        """Encode preprocessed images [B, 3, H, W]; H and W are multiples of the patch size and may differ.

        Raises:
            ValueError: a side is not a multiple of the patch size.
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
        """Return window embeddings [B, h', w', D] for one scale."""
        index, places = window_index(grid, scale)
        index = index.to(tokens.device)
        # A graph for any number of images cannot divide the windows by that number.
        at_once = len(index) if torch.compiler.is_compiling() else WINDOW_TOKENS // (len(tokens) * index.shape[1])
        parts = [self._encode(tokens, qkv, part) for part in index.split(max(1, at_once))]
        return torch.cat(parts, dim=1).unflatten(1, places)

    def _encode(self, tokens: Tensor, qkv: Sequence[Tensor], index: Tensor) -> Tensor:
        """Return embeddings [B, W, D] of windows, given by the indices of their tokens [W, 1 + s*s]."""
        first, *others = self.visual.transformer.resblocks
        x = tokens[:, index].flatten(0, 1)
        q, k, v = (part[:, :, index].transpose(1, 2).flatten(0, 1) for part in qkv)
        x = tower.finish_block(first, x, tower.attend(first.attn, q, k, v))
        for block in others[:-1]:
            x = tower.run_block(block, x)
        for last in others[-1:]:  # empty for a tower of one block
            x = tower.run_class_block(last, x)
        return tower.project_out(self.visual, x[:, 0]).unflatten(0, (-1, len(index)))


def window_index(grid: tuple[int, int], scale: int) -> tuple[Tensor, tuple[int, int]]:
    """Return token indices [W, 1 + s*s] of all windows of a patch grid, class token first, and their grid (h', w')."""
    sides = min(scale, grid[0]), min(scale, grid[1])
    numbers = torch.arange(1, grid[0] * grid[1] + 1).view(grid)
    windows = numbers.unfold(0, sides[0], 1).unfold(1, sides[1], 1)
    places = windows.shape[0], windows.shape[1]
    flat = windows.reshape(places[0] * places[1], -1)
    return torch.cat([flat.new_zeros(len(flat), 1), flat], dim=1), places

"""Aggregation of patch tokens over neighbourhoods: the mean (MuSc), or weighted by similarity (MuSc-V2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.utilities.arguments import check_whole_list

Weighting = Literal["mean", "similarity"]


def neighbourhood_mean(tokens: Tensor, side: int) -> Tensor:
    """Average tokens over side x side neighbourhoods, with zeros beyond the border: [B, h, w, C] -> [B, h, w, C].

    This is LNAMD of MuSc (arXiv 2401.16753, section 3.2). Its released code flattens a neighbourhood channel by channel
    and pools it to one value per channel, which is the same.

    Args:
        tokens: [B, h, w, C].
        side: r, odd.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import neighbourhood_mean
        >>> neighbourhood_mean(torch.tensor([9.0, 18.0, 27.0]).view(1, 1, 3, 1), side=3).flatten()
        tensor([3., 6., 5.])
    """
    if side == 1:
        return tokens
    return F.avg_pool2d(tokens.permute(0, 3, 1, 2), side, stride=1, padding=side // 2).permute(0, 2, 3, 1)


def neighbourhood_similarity(tokens: Tensor, side: int) -> Tensor:
    """Average tokens over side x side neighbourhoods, weighted by similarity: [B, h, w, C] -> [B, h, w, C].

    A neighbour y of a token x has the weight exp(-|y - x|), where |.| is the Euclidean length, and the weights are
    divided by their sum. Neighbours beyond the border are zeros with their own weight exp(-|x|). This is SNAMD of
    MuSc-V2 as released, which normalises no token before; long tokens therefore have almost no neighbours. Computed in
    single precision, also under autocast.

    Args:
        tokens: [B, h, w, C].
        side: r, odd.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import neighbourhood_similarity
        >>> neighbourhood_similarity(torch.tensor([5.0, 5.0, 90.0]).view(1, 1, 3, 1), side=1).flatten()
        tensor([ 5.,  5., 90.])
    """
    tokens = tokens.float()
    height, width = tokens.shape[1:3]
    padded = F.pad(tokens, (0, 0, *[side // 2] * 4))
    total, weights = torch.zeros_like(tokens), tokens.new_zeros(*tokens.shape[:-1], 1)
    for down in range(side):
        for right in range(side):
            neighbour = padded[:, down : down + height, right : right + width]
            weight = (-(neighbour - tokens).norm(dim=-1, keepdim=True)).exp()
            total += weight * neighbour
            weights += weight
    return total / weights


def aggregate(tokens: Tensor, r: Sequence[int], weighting: Weighting) -> list[Tensor]:
    """Return the aggregated tokens [B, h, w, C] that are compared.

    With the mean there is one tensor for each r, whose scores are averaged as in MuSc; weighted by similarity there is
    one, the mean over all r, as in MuSc-V2.

    Args:
        tokens: [B, h, w, C].
        r: odd sides of neighbourhoods.
        weighting: "mean" or "similarity".
    """
    if weighting == "mean":
        return [neighbourhood_mean(tokens, side) for side in r]
    return [torch.stack([neighbourhood_similarity(tokens, side) for side in r]).mean(dim=0)]


def check_sides(name: str, r: Sequence[int]) -> None:
    """Check the sides of neighbourhoods.

    Raises:
        ValueError: not a list of whole numbers, no side, or a side that is even or below 1.
    """
    check_whole_list(name, r, (1, 3))
    if not r or any(side < 1 or side % 2 == 0 for side in r):
        msg = f"Expected {name} to be odd sides of neighbourhoods, but got {list(r)}. MuSc has 1, 3 and 5."
        raise ValueError(msg)

"""Distances of patches to a memory of patches (AnomalyDINO, arXiv 2405.14529)."""

from __future__ import annotations

import torch
from torch import Tensor

from dualclip_lightning.scoring.precision import single_precision
from dualclip_lightning.utilities.arguments import check_share, check_whole

QUERIES_AT_ONCE = 1024
"""Number of patches that are compared with the whole memory at once."""


def memory_distances(queries: Tensor, memory: Tensor, neighbours: int = 1) -> Tensor:
    """Return the mean distance [P] of patches [P, C] to their nearest patches of a memory [n, C], in [0, 2].

    The distance is one minus the cosine. Computed in single precision, also under autocast.

    Args:
        queries: [P, C], of length 1.
        memory: [n, C], of length 1.
        neighbours: number of nearest patches whose distances are averaged; at most n are.

    Raises:
        ValueError: no patch in the memory, or fewer than one neighbour.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import memory_distances
        >>> memory = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> memory_distances(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), memory)
        tensor([0.0000, 0.2000])
    """
    check_whole("neighbours", neighbours, 1)
    if not len(memory):
        msg = "Expected at least one patch in the memory, but got none."
        raise ValueError(msg)
    count = min(neighbours, len(memory))
    with single_precision(queries.device):
        parts = [(part @ memory.T).topk(count, dim=1).values for part in queries.split(QUERIES_AT_ONCE)]
    return 1 - torch.cat(parts).mean(dim=1)


def pooled_distances(queries: Tensor, pool: Tensor, share: float = 0.001) -> Tensor:
    """Return the mean distance [P] of patches [P, C] to their nearest patches of a pool [n, C] of unlabelled images.

    With k = floor(share * n), the k - 1 nearest patches are averaged, at least one. The released code averages the
    distances strictly below the k-th smallest, which is the same unless distances are equal, and has no value for k
    below 2.

    Args:
        queries: [P, C], of length 1.
        pool: [n, C], of length 1; the patches of all other images.
        share: share of the pool, in [0, 1].

    Raises:
        ValueError: no patch in the pool, or a share outside [0, 1].

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import pooled_distances
        >>> pool = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> pooled_distances(torch.tensor([[1.0, 0.0]]), pool, share=1.0)  # the two nearest of three
        tensor([0.2000])
    """
    check_share("share", share)
    return memory_distances(queries, pool, max(1, int(share * len(pool)) - 1))

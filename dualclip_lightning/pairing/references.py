"""Choice of the references of each image, from groups of images.

`references_in_group` and `neighbour_references` serve images that are all in memory and can all be read;
`choose_references` replaces images that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

import torch
from torch import Tensor

from dualclip_lightning.pairing.groups import Group


def references_in_group(size: int, num_references: int) -> Tensor:
    """Return the positions of each image's references in a group of `size` images: [size, min(K, size - 1)].

    The references of an image are the next K in cyclic order, which never include the image itself.

    Example:
        >>> from dualclip_lightning.pairing import references_in_group
        >>> references_in_group(size=3, num_references=1).tolist()
        [[1], [2], [0]]
    """
    steps = torch.arange(1, min(num_references, size - 1) + 1)
    return (torch.arange(size).unsqueeze(1) + steps) % size


def neighbour_references(batch: int, num_references: int) -> Tensor:
    """Return the rows of each image's references [B, K] if neighbours in a batch form groups of K + 1.

    The remainder joins the last group. For images in memory; the groups of a data set are drawn by `random_groups`.

    Example:
        >>> from dualclip_lightning.pairing import neighbour_references
        >>> neighbour_references(batch=4, num_references=1).tolist()
        [[1], [0], [3], [2]]
    """
    size = num_references + 1
    whole = max(1, batch // size)
    sizes = [size] * (whole - 1) + [batch - size * (whole - 1)]
    starts = range(0, size * whole, size)
    return torch.cat([references_in_group(n, num_references) + start for n, start in zip(sizes, starts, strict=True)])


def candidates(groups: Sequence[Group], home: int, place: int) -> Iterator[int]:
    """Yield all other images as candidate references of an image: first its own group in cyclic order, then the next.

    Args:
        groups: groups as from `random_groups`.
        home: index of the image's group.
        place: index of the image in that group.

    Example:
        >>> from dualclip_lightning.pairing import candidates
        >>> list(candidates([(0, 3), (1, 2)], home=0, place=1))
        [0, 1, 2]
    """
    group = groups[home]
    yield from (group[(place + step) % len(group)] for step in range(1, len(group)))
    for step in range(1, len(groups)):
        yield from groups[(home + step) % len(groups)]


def choose_references(groups: Sequence[Group], usable: AbstractSet[int], num_references: int) -> dict[int, Group]:
    """Choose the references of every usable image, the first K of its `candidates` that are usable.

    Args:
        groups: a partition of all images of a run.
        usable: positions of the images that can be read.
        num_references: K; fewer references if there are not enough images.

    Example:
        >>> from dualclip_lightning.pairing import choose_references
        >>> choose_references([(0, 3), (1, 2)], usable={0, 1, 2, 3}, num_references=1)
        {0: (3,), 3: (0,), 1: (2,), 2: (1,)}
    """
    return {
        member: tuple(islice((c for c in candidates(groups, home, place) if c in usable), num_references))
        for home, group in enumerate(groups)
        for place, member in enumerate(group)
        if member in usable
    }

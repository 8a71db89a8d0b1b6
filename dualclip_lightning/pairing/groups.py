"""Seeded partitions of the test set into groups of images that reference each other.

Dual-Image CLIP pairs random unlabelled test images. Public test sets are sorted by kind of defect, so pairs of
neighbours would share a defect and hide it, and pairs within a batch would make scores depend on the batch size. Here
the groups depend only on the seed and the set of images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path

import torch

from dualclip_lightning.utilities.seeding import derive_seed

Group = tuple[int, ...]
"""Positions of images that reference each other."""


def random_groups(names: Sequence[str], num_references: int, seed: int) -> list[Group]:
    """Partition images into random groups of `num_references` + 1; the remainder joins the last group.

    Names are taken relative to their common folder and sorted first, so that the result does not depend on the location
    of the data set or the order of its listing.

    Args:
        names: a distinct name (path) for every image.
        num_references: K, at least 1; groups are smaller if there are not enough images.
        seed: any integer.

    Returns:
        Groups of positions in `names`, which together contain every position once.

    Raises:
        ValueError: K is below 1.

    Example:
        >>> from dualclip_lightning.pairing import random_groups
        >>> groups = random_groups([f"{i}.png" for i in range(5)], num_references=1, seed=0)
        >>> [len(group) for group in groups], sorted(sum(groups, ()))
        ([2, 3], [0, 1, 2, 3, 4])
    """
    if num_references < 1:
        msg = f"Expected num_references to be at least 1, but got {num_references}."
        raise ValueError(msg)
    shuffled = _shuffled(names, derive_seed(seed, "pairs"))
    size = num_references + 1
    groups = [tuple(shuffled[start : start + size]) for start in range(0, len(shuffled), size)]
    if len(groups) > 1 and len(groups[-1]) < size:
        rest = groups.pop()
        groups[-1] += rest
    return groups


def random_subsets(names: Sequence[str], count: int, seed: int) -> list[Group]:
    """Partition images at random into `count` subsets whose sizes differ by at most one; names as in `random_groups`.

    If subsets would have a single image, there are fewer of them.

    Raises:
        ValueError: `count` is below 1.

    Example:
        >>> from dualclip_lightning.pairing import random_subsets
        >>> [len(subset) for subset in random_subsets([f"{i}.png" for i in range(5)], count=2, seed=0)]
        [3, 2]
    """
    if count < 1:
        msg = f"Expected at least 1 subset, but got {count}."
        raise ValueError(msg)
    shuffled = _shuffled(names, derive_seed(seed, "subsets"))
    count = max(1, min(count, len(names) // 2))
    return [tuple(shuffled[start::count]) for start in range(count)]


def order_for_ranks(groups: Sequence[Group], ranks: int) -> list[int]:
    """Order the members of all groups so that every rank gets whole groups, as far as the numbers allow.

    PyTorch's distributed samplers give rank r the positions r, r + ranks, r + 2 * ranks, ... of a data set. In group
    order, a pair would be split between two ranks, and both would encode both of its images.

    Example:
        >>> from dualclip_lightning.pairing import order_for_ranks
        >>> order_for_ranks([(0, 3), (1, 2)], ranks=2)  # the first process gets 0 and 3, the second 1 and 2
        [0, 1, 3, 2]
    """
    count = sum(map(len, groups))
    room = [len(range(rank, count, ranks)) for rank in range(ranks)]
    parts: list[list[tuple[int, Group]]] = [[] for _ in range(ranks)]
    left: list[int] = []
    for place, group in sorted(enumerate(groups), key=lambda item: -len(item[1])):  # largest groups first
        rank = max(range(ranks), key=room.__getitem__)
        fits = room[rank]
        parts[rank].append((place, group[:fits]))
        left += group[fits:]
        room[rank] -= min(fits, len(group))
    rest = iter(left)
    lists = [
        [*chain.from_iterable(members for _, members in sorted(own)), *islice(rest, room[rank])]
        for rank, own in enumerate(parts)
    ]
    return [lists[position % ranks][position // ranks] for position in range(count)]


def joined_groups(references: Mapping[int, Group]) -> list[Group]:
    """Return the smallest groups in which every image has all its references, in the given order."""
    group_of: dict[int, list[int]] = {}
    for member, others in references.items():
        parts = {id(part): part for part in (group_of.setdefault(each, []) for each in (member, *others))}
        joined = list(dict.fromkeys([*chain.from_iterable(parts.values()), member, *others]))
        group_of.update(dict.fromkeys(joined, joined))
    return [tuple(group) for group in {id(group): group for group in group_of.values()}.values()]


def _shuffled(names: Sequence[str], seed: int) -> list[int]:
    """Return the positions of the names in a random order that depends only on the names below their common folder."""
    by_name = sorted(range(len(names)), key=_relative(names).__getitem__)
    generator = torch.Generator().manual_seed(seed)
    return [by_name[i] for i in torch.randperm(len(names), generator=generator).tolist()]


def _relative(names: Sequence[str]) -> list[str]:
    folders = {str(Path(name).parent) for name in names}
    try:
        root = os.path.commonpath(folders)
    except ValueError:  # no names, or a mix of absolute and relative ones
        return list(names)
    return [os.path.relpath(name, root) if root else name for name in names]


def whole_groups(groups: Iterable[Group], limit: int) -> Iterator[list[Group]]:
    """Yield lists of groups that contain at most `limit` images together, or a single larger group.

    Example:
        >>> from dualclip_lightning.pairing import whole_groups
        >>> list(whole_groups([(0, 1), (2, 3), (4, 5, 6)], limit=4))
        [[(0, 1), (2, 3)], [(4, 5, 6)]]
    """
    chunk: list[Group] = []
    for group in groups:
        if chunk and sum(map(len, chunk)) + len(group) > limit:
            yield chunk
            chunk = []
        chunk.append(group)
    if chunk:
        yield chunk

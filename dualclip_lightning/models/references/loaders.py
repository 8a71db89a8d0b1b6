"""The choices of a data loader, apart from its order: its images, its batch size, and how they are read."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import signature
from typing import Any

from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

ORDER = frozenset({"dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "drop_last"})
"""Arguments of a DataLoader that select and group images; the others affect reading."""


def flattened(loaders: Any) -> CombinedLoader:
    """Return any collection of loaders that Lightning accepts as one mutable object."""
    return copy.copy(loaders) if isinstance(loaders, CombinedLoader) else CombinedLoader(loaders, "sequential")


def check_loader(loader: Any) -> None:
    """Check that a loader can be replaced without making scores depend on its batches or losing a setting.

    Raises:
        TypeError: it is not a plain DataLoader, or has an IterableDataset or a DistributedSampler.
        ValueError: the loader has no batches.
    """
    if type(loader) is not DataLoader:
        msg = f"Expected torch's DataLoader, but got {_kind(loader)}. Give DataLoader(dataset, batch_size=...)."
        raise TypeError(msg)
    if isinstance(loader.dataset, IterableDataset):
        msg = (
            f"Expected a data set with a length, but {_kind(loader.dataset)} is an IterableDataset, whose images are "
            'not known before they come. Give a map-style data set, or use Detector(compare_with="stream").'
        )
        raise TypeError(msg)
    if loader.batch_sampler is None:
        msg = "Expected a DataLoader with batches, but got batch_size=None. Set batch_size to a number of images."
        raise ValueError(msg)
    if isinstance(loader.sampler, DistributedSampler):
        msg = "Lightning divides the images among processes by itself. Leave the DistributedSampler out."
        raise TypeError(msg)


def chosen_images(loader: DataLoader) -> tuple[list[int], int]:
    """Return the positions of the images in one pass over the loader, in its order, and its batch size.

    If a batch sampler has batches of several sizes, the batch size is the largest.

    Raises:
        ValueError: the loader gives no image, or one of them twice.
    """
    count = len(loader.dataset)  # type: ignore[arg-type]
    batches = list(_until(loader.batch_sampler or (), count))
    positions = [int(position) for batch in batches for position in batch]
    if not positions:
        msg = f"The sampler of the DataLoader gives none of {count} image(s). Check sampler, batch_size and drop_last."
        raise ValueError(msg)
    position, times = Counter(positions).most_common(1)[0]
    if times > 1:
        msg = f"The sampler gives image {position} of the data set more than once. Use one without replacement."
        raise ValueError(msg)
    return positions, loader.batch_size or max(map(len, batches))


def _until(batches: Iterable[Sequence[int]], count: int) -> Iterator[Sequence[int]]:
    """Yield batches up to the first that exceeds the number of images, since a sampler may be infinite."""
    for batch in batches:
        yield batch
        count -= len(batch)
        if count < 0:
            return


def reading_options(loader: DataLoader) -> dict[str, Any]:
    """Return the arguments of a DataLoader that affect reading: workers, collation, pinned memory and so on."""
    known = signature(DataLoader).parameters.keys() - ORDER
    return {name: getattr(loader, name) for name in sorted(known) if hasattr(loader, name)}


class OneSize:
    """Collation that refuses images of several sizes, which anomalib's would squash to a common size.

    Args:
        collate: function that makes a batch of items.
    """

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: list[Any]) -> Any:
        """Collate a batch of items.

        Raises:
            ValueError: the images have several sizes.
        """
        sizes = sorted({tuple(item.image.shape[-2:]) for item in items})
        if len(sizes) > 1:
            found = " and ".join(f"{height}x{width}" for height, width in sizes)
            remedy = "Set pre_processor=True and resize='squash', or batch_size (eval_batch_size) to 1."
            msg = f"Images of a batch need one size, but got {found}. {remedy}"
            raise ValueError(msg)
        return self.collate(items)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"

"""A data set in another order, with every item resized individually."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.transforms.v2 import Compose, Transform

from dualclip_lightning.images.masks import MaskRule, check_rule, resize_mask


class OrderedDataset(Dataset):
    """The items of an anomalib dataset in a given order; all other attributes are those of the dataset.

    The order puts members of a group into the same batch if the batch size allows, for any number of workers. Each item
    is resized before collation; otherwise anomalib's collation would squash images of different sizes to a common
    size, and a score would depend on its batch.

    Args:
        dataset: any map-style dataset of anomalib items.
        order: positions in the dataset.
        geometry: transform that resizes one image.
        masks: rule by which masks are resized (`dualclip_lightning.images.masks`).

    Example:
        >>> import torch
        >>> from anomalib.data import ImageItem
        >>> from torchvision.transforms.v2 import Resize
        >>> from dualclip_lightning.pairing import OrderedDataset
        >>> items = [ImageItem(image=torch.zeros(3, 40, 50 + i), image_path=f"{i}.png") for i in range(3)]
        >>> ordered = OrderedDataset(items, order=[2, 0], geometry=Resize((32, 32)))
        >>> ordered[0].image_path, ordered[0].image.shape
        ('2.png', torch.Size([3, 32, 32]))
    """

    dataset: Any

    def __init__(
        self, dataset: Dataset, order: Sequence[int], geometry: Transform, masks: MaskRule = "nearest"
    ) -> None:
        self.dataset = dataset
        self.order = list(order)
        self.geometry = geometry
        self.masks = check_rule(masks)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        return self.load(self.order[index])

    def load(self, position: int) -> Any:
        """Return the resized item at a position of the dataset itself.

        Raises:
            ValueError: a file cannot be read as an image; the message names it.
        """
        item = _read(self.dataset, position)
        if item.gt_mask is not None:
            item.gt_mask = resize_mask(item.gt_mask, self.geometry, self.masks)
        item.image = self.geometry(item.image)
        return item

    @property
    def augmentations(self) -> Any:
        """Augmentations of the dataset, which its datamodule may replace before every run."""
        return self.dataset.augmentations

    @augmentations.setter
    def augmentations(self, augmentations: Any) -> None:
        self.dataset.augmentations = augmentations

    def __getattr__(self, name: str) -> Any:
        # "dataset" does not exist yet while a worker unpickles this object, and torch would bypass this one through
        # the `__getitems__` of a Subset.
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def innermost(dataset: Any) -> Iterator[Any]:
    """Yield the data sets below subsets and concatenations."""
    if isinstance(dataset, Subset):
        yield from innermost(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from innermost(part)
    else:
        yield dataset


def unresized(dataset: Any, geometry: Transform) -> Any:
    """Return a copy of the data set without a final augmentation that resizes in the same way as the geometry."""
    found = copy.copy(dataset)
    if isinstance(dataset, Subset):
        found.dataset = unresized(dataset.dataset, geometry)
    elif isinstance(dataset, ConcatDataset):
        found.datasets = [unresized(part, geometry) for part in dataset.datasets]
    else:
        own = getattr(dataset, "augmentations", None)
        *before, last = own.transforms if isinstance(own, Compose) and len(own.transforms) else [own]
        if last is None or last not in getattr(geometry, "transforms", [geometry]):
            return dataset
        found.augmentations = Compose(before) if before else None
    return found


def known_names(dataset: Any, names: Sequence[str] | None, kept: Sequence[int]) -> list[str]:
    """Return distinct names of the items at `kept` (others are empty), for methods that identify images by path.

    Items are loaded if the data set does not provide the names.

    Raises:
        ValueError: an item has no path, or two items have the same.

    Example:
        >>> from dualclip_lightning.pairing import known_names
        >>> known_names(range(3), ["a.png", "b.png", "c.png"], kept=[0, 2])
        ['a.png', '', 'c.png']
    """
    if names is None:
        paths = {position: getattr(_read(dataset, position), "image_path", None) for position in kept}
    else:
        paths = {position: names[position] for position in kept}
    nameless = [position for position, path in paths.items() if not path]
    if nameless:
        msg = (
            f"Item {nameless[0]} of the data set has no image_path, by which images that are compared with each other "
            "are told apart. Return items that have it, set reference_dir, or use a method that scores each by itself."
        )
        raise ValueError(msg)
    name, times = Counter(map(str, paths.values())).most_common(1)[0]
    if times > 1:
        msg = f"Expected every image of the data set once, but '{name}' is there {times} times. Leave it out."
        raise ValueError(msg)
    return [str(paths.get(position, "")) for position in range(len(dataset))]


def _read(dataset: Dataset, position: int) -> Any:
    from dualclip_lightning.pairing.items import read_item  # noqa: PLC0415 - anomalib takes seconds to import

    return read_item(dataset, position)

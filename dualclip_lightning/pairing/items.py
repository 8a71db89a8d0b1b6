"""Items of anomalib's data sets with images as this package reads them: in full depth, upright, or refused."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

import torch
from anomalib import TaskType
from anomalib.data import AnomalibDataset, ImageItem, PredictDataset
from anomalib.data.utils import LabelName, read_image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.tv_tensors import Image, Mask

from dualclip_lightning.images.limits import MAX_MEGAPIXELS
from dualclip_lightning.images.masks import read_mask
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.tensors import read_rgb
from dualclip_lightning.pairing.names import image_names


def read_item(dataset: Dataset, position: int, max_megapixels: float = MAX_MEGAPIXELS) -> Any:
    """Item at a position of a data set, its image read by `read_rgb`, as `predict` reads it.

    A data set with a `__getitem__` of its own keeps what it makes of an image; only an image that is exactly what
    anomalib's `read_image` gives is read again.

    Args:
        dataset: any map-style data set of anomalib items.
        position: in the data set.
        max_megapixels: larger images are refused.

    Raises:
        ValueError: an image or mask that cannot be used; the message names the file and the remedy.
    """
    dataset, position = _innermost(dataset, position)
    try:
        reads = getattr(type(dataset), "__getitem__", None)
        if reads is AnomalibDataset.__getitem__:
            return _labelled(dataset, position, max_megapixels)
        if reads is PredictDataset.__getitem__:
            return _unlabelled(dataset, position, max_megapixels)
        return _read_again(dataset[position], max_megapixels)
    except (OSError, SyntaxError, ValueError) as error:
        name = (image_names(dataset) or {position: "?"})[position]
        msg = f"Cannot read image {position} of the data set, '{name}': {error} Repair or remove the file or its mask."
        raise ValueError(msg) from error


def _innermost(dataset: Any, position: int) -> tuple[Any, int]:
    """The data set below subsets and concatenations that holds the item, and the item's position there."""
    while isinstance(dataset, Subset | ConcatDataset):
        if isinstance(dataset, Subset):
            dataset, position = dataset.dataset, dataset.indices[position]
        else:
            part = bisect_right(dataset.cumulative_sizes, position)
            position -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
    return dataset, position


def _unlabelled(dataset: Any, position: int, max_megapixels: float) -> ImageItem:
    """As `PredictDataset.__getitem__`."""
    path = str(dataset.image_filenames[position])
    image = Image(read_rgb(path, max_megapixels))
    return ImageItem(image=dataset.transform(image) if dataset.transform else image, image_path=path)


def _labelled(dataset: Any, position: int, max_megapixels: float) -> ImageItem:
    """As `AnomalibDataset.__getitem__`."""
    sample = dataset.samples.iloc[position]
    image = Image(read_rgb(sample.image_path, max_megapixels))
    with_mask = dataset.task == TaskType.SEGMENTATION
    mask = _mask(sample, image) if with_mask else None
    if dataset.augmentations and with_mask:
        image, augmented = dataset.augmentations(image, _zeros(image) if mask is None else mask)
        mask = None if mask is None else augmented
    elif dataset.augmentations:
        image = dataset.augmentations(image)
    unknown = sample.label_index == LabelName.UNKNOWN
    return ImageItem(
        image=image,
        gt_mask=mask,
        gt_label=None if unknown else torch.tensor(sample.label_index),
        image_path=sample.image_path,
        mask_path=sample.mask_path,
    )


def _mask(sample: Any, image: Tensor) -> Mask | None:
    """The mask of an image [3, H, W]: all zero for a normal one, None where it is not known which it is.

    Raises:
        ValueError: a mask that was drawn on the image as it lies on disk and not as it is shown.
    """
    if sample.label_index == LabelName.NORMAL:
        return _zeros(image)
    if sample.label_index != LabelName.ABNORMAL:
        return None
    mask = read_mask(sample.mask_path)
    check_mask(mask, image, sample.mask_path)
    return mask


def check_mask(mask: Tensor, image: Tensor, path: str) -> None:
    """Refuse a mask [H, W] whose sides are those of an image [3, W, H]: it was drawn before EXIF turned the image.

    Raises:
        ValueError: names both sizes and the remedy.
    """
    (height, width), size = mask.shape[-2:], tuple(image.shape[-2:])
    if (height, width) != size and (width, height) == size:
        msg = (
            f"its mask '{path}' is {width}x{height}, but the image that EXIF turns upright is {height}x{width}. "
            "Turn the mask as the image is turned."
        )
        raise ValueError(msg)


def _zeros(image: Tensor) -> Mask:
    return Mask(torch.zeros(image.shape[-2:], dtype=torch.uint8))


def _read_again(item: Any, max_megapixels: float) -> Any:
    """An item, its image read by us if it was read by anomalib's reader and nothing was done to it since.

    Raises:
        ImageError: an image that anomalib read in its way and that cannot be read for sure.
    """
    path = item.image_path
    if item.image is None or not path or not Path(path).is_file():
        return item
    try:
        image = Image(read_rgb(path, max_megapixels))
    except ImageError:
        if _as_anomalib_reads(item.image, path):
            raise
        return item
    if torch.equal(image, item.image) or not _as_anomalib_reads(item.image, path):
        return item
    item.image = image
    if item.gt_mask is not None:
        item.gt_mask = item.gt_mask if item.gt_mask.any() else _zeros(image)
        check_mask(item.gt_mask, image, item.mask_path)
    return item


def _as_anomalib_reads(image: Tensor, path: str) -> bool:
    try:
        return torch.equal(image, torch.as_tensor(read_image(path, as_tensor=True)))
    except (OSError, SyntaxError, ValueError):
        return False

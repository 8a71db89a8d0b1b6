"""Items of anomalib's data sets, with images read by this package in full depth and upright."""

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
    """Return the item at a position of a data set, with its image read by `read_rgb` as in `predict`.

    If a data set has its own `__getitem__`, an image is read again only if it equals the result of anomalib's
    `read_image`; otherwise it is kept.

    Args:
        dataset: any map-style data set of anomalib items.
        position: position in the data set.
        max_megapixels: size above which images are refused.

    Raises:
        ValueError: an image or mask cannot be used; the message names the file and the remedy.
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
    """Return the data set below subsets and concatenations that contains the item, and the item's position in it."""
    while isinstance(dataset, Subset | ConcatDataset):
        if isinstance(dataset, Subset):
            dataset, position = dataset.dataset, dataset.indices[position]
        else:
            part = bisect_right(dataset.cumulative_sizes, position)
            position -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
    return dataset, position


def _unlabelled(dataset: Any, position: int, max_megapixels: float) -> ImageItem:
    """Build an item like `PredictDataset.__getitem__`."""
    path = str(dataset.image_filenames[position])
    image = Image(read_rgb(path, max_megapixels))
    return ImageItem(image=dataset.transform(image) if dataset.transform else image, image_path=path)


def _labelled(dataset: Any, position: int, max_megapixels: float) -> ImageItem:
    """Build an item like `AnomalibDataset.__getitem__`."""
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
    """Return the mask of an image [3, H, W]: all zero for a normal image, None for one without a label.

    Raises:
        ValueError: the mask fits the stored image and not the upright one.
    """
    if sample.label_index == LabelName.NORMAL:
        return _zeros(image)
    if sample.label_index != LabelName.ABNORMAL:
        return None
    mask = read_mask(sample.mask_path)
    check_mask(mask, image, sample.mask_path)
    return mask


def check_mask(mask: Tensor, image: Tensor, path: str) -> None:
    """Check that a mask [H, W] was not drawn before EXIF rotated its image [3, H, W].

    Raises:
        ValueError: the sides are swapped; the message names both sizes and the remedy.
    """
    (height, width), size = mask.shape[-2:], tuple(image.shape[-2:])
    if (height, width) != size and (width, height) == size:
        msg = (
            f"its mask '{path}' is {width}x{height}, but the image that EXIF turns upright is {height}x{width}. "
            "Rotate the mask like the image."
        )
        raise ValueError(msg)


def _zeros(image: Tensor) -> Mask:
    return Mask(torch.zeros(image.shape[-2:], dtype=torch.uint8))


def _read_again(item: Any, max_megapixels: float) -> Any:
    """Return an item, with its image read again if it is the unmodified result of anomalib's reader.

    Raises:
        ImageError: anomalib read the image, but its values cannot be interpreted with certainty.
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

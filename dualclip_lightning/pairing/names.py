"""The paths that identify the items of a data set."""

from __future__ import annotations

from typing import Any

from torch.utils.data import ConcatDataset, Subset


def image_names(dataset: Any) -> list[str] | None:
    """Return the path of every item of an anomalib dataset without loading items; None if it does not provide them.

    Subsets and concatenations (`torch.utils.data`) are supported.

    Example:
        >>> from types import SimpleNamespace
        >>> from dualclip_lightning.pairing import image_names
        >>> image_names(SimpleNamespace(image_filenames=["a.png", "b.png"]))  # as anomalib's PredictDataset
        ['a.png', 'b.png']
    """
    if isinstance(dataset, Subset):
        names = image_names(dataset.dataset)
        return None if names is None else [names[position] for position in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [image_names(part) for part in dataset.datasets]
        return None if None in parts else [name for part in parts for name in part or ()]
    samples = getattr(dataset, "samples", None)
    paths = getattr(samples, "image_path", None) if samples is not None else getattr(dataset, "image_filenames", None)
    return None if paths is None else [str(path) for path in paths]

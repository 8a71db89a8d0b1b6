"""The images of a data set with labelled defects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalib import TaskType
from anomalib.data import AnomalibDataset
from anomalib.data.utils import Split


def labelled_parts(test_data: Any, name: str, categories: Sequence[str] | None = None) -> list[AnomalibDataset]:
    """Return the test images of each category, or only `test_data`; anomalib's training images are all normal.

    Args:
        test_data: test data of any category of the data set.
        name: name of the data set in messages.
        categories: categories to use, whose folders are next to that of `test_data`; None uses only `test_data`.

    Raises:
        ValueError: the data set has no categories, or a part has no masks or no defects.
    """
    parts = [test_data] if categories is None else [_beside(test_data, name, category) for category in categories]
    for part in parts:
        if part.task != TaskType.SEGMENTATION or not part.has_anomalous:
            raise ValueError(no_masks(f"{name} '{part.category}'" if part.category else name))
    return parts


def no_masks(where: str) -> str:
    """Return the message for data without masks, from which nothing can be learnt."""
    return f"{where} has no masks of defects to learn from. Train on data that have them, such as MVTecAD or Visa."


def _beside(test_data: Any, name: str, category: str) -> AnomalibDataset:
    own = getattr(test_data, "root_category", None)
    if own is None:
        msg = f"{name} has no categories. Leave out auxiliary_categories to train on all of it."
        raise ValueError(msg)
    if not (own.parent / category).is_dir():
        known = sorted(folder.name for folder in own.parent.iterdir() if folder.is_dir())
        msg = f"{name} has no category '{category}' in '{own.parent}'. Expected some of {', '.join(known)}."
        raise ValueError(msg)
    return type(test_data)(root=own.parent, category=category, split=Split.TEST)

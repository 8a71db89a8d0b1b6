"""Message for a data set of anomalib that is missing and cannot be downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError

from anomalib.data.datamodules.image.visa import VISA_CATEGORIES
from anomalib.data.datasets.image.mvtecad import CATEGORIES

from dualclip_lightning.data.categories import check_category

HOMES = {
    "MVTecAD": ("MVTec AD", CATEGORIES, "https://www.mvtec.com/company/research/datasets/mvtec-ad"),
    "Visa": ("VisA", VISA_CATEGORIES, "https://github.com/amazon-science/spot-diff"),
}
"""For each datamodule, the name of its data set, the categories, and the page that offers it."""
NO_DOWNLOAD = (URLError, ConnectionError, TimeoutError)


@contextmanager
def told_where_to_get(data: Any) -> Iterator[None]:
    """Context for preparing `data`: refuse an unknown category immediately, and explain a failed download.

    Args:
        data: datamodule of MVTec AD or VisA; others are not checked.

    Raises:
        ValueError: the data set does not have the category.
        FileNotFoundError: the data are missing; the message names their source and layout.
    """
    if getattr(data, "name", None) not in HOMES:
        yield
        return
    name, categories, page = HOMES[data.name]
    check_category(name, data.category, categories)
    try:
        yield
    except NO_DOWNLOAD as error:
        raise FileNotFoundError(_missing(name, page, data, error)) from error


def _missing(name: str, page: str, data: Any, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return (
        f"{name} is not in '{data.root}' and cannot be downloaded ({reason}). Get it from {page} and unpack it so that "
        f"there is '{data.root / data.category}', or name the folder that holds the categories by --data.root."
    )

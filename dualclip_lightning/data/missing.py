"""What to say where a data set of anomalib is not there and cannot be downloaded."""

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
"""By the name of the datamodule: what the data set is called, its categories, and the page that offers it."""
NO_DOWNLOAD = (URLError, ConnectionError, TimeoutError)


@contextmanager
def told_where_to_get(data: Any) -> Iterator[None]:
    """While `data` is prepared: refuse an unknown category at once, and a download that fails with the remedy.

    Args:
        data: a datamodule of MVTec AD or VisA; any other is left as it is.

    Raises:
        ValueError: a category that the data set does not have.
        FileNotFoundError: the data are not there, with where to get them and how they must lie.
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

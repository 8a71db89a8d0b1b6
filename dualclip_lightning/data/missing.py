"""Message for a data set of anomalib that is missing and cannot be downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from anomalib.data.datamodules.image import mvtecad, visa
from anomalib.data.datasets.image.mvtecad import CATEGORIES
from anomalib.data.utils import DownloadInfo

from dualclip_lightning.data.categories import check_category


class Home(NamedTuple):
    """Where a data set comes from."""

    name: str
    categories: Sequence[str]
    page: str
    """Page that offers it."""
    download: DownloadInfo
    """What anomalib downloads."""


HOMES = {
    "MVTecAD": Home(
        "MVTec AD", CATEGORIES, "https://www.mvtec.com/company/research/datasets/mvtec-ad", mvtecad.DOWNLOAD_INFO
    ),
    "Visa": Home("VisA", visa.VISA_CATEGORIES, "https://github.com/amazon-science/spot-diff", visa.DOWNLOAD_INFO),
}
"""Homes by the name of the datamodule."""
NO_DOWNLOAD = (URLError, ConnectionError, TimeoutError)
TIMEOUT = 10
"""Seconds to wait for the server of a download."""


def check_available(data: Any) -> None:
    """Check the category, and if data are missing, that their server answers, before anomalib begins the download.

    Args:
        data: datamodule of MVTec AD or VisA; others are not checked.

    Raises:
        ValueError: the data set does not have the category.
        FileNotFoundError: the data are missing; the message names their source and layout.
    """
    home = HOMES.get(getattr(data, "name", ""))
    if home is None:
        return
    if _has_category(data):  # which may be one of the user's own
        return
    check_category(home.name, data.category, home.categories)
    if _archive(data, home.download).exists():
        return
    try:
        urlopen(home.download.url, timeout=TIMEOUT).close()  # noqa: S310 - a constant of anomalib
    except NO_DOWNLOAD as error:
        raise FileNotFoundError(_missing(home, data, error)) from error


@contextmanager
def told_where_to_get(data: Any) -> Iterator[None]:
    """Context for preparing `data`, which also explains a download that fails later on.

    Args:
        data: Same as in `check_available`.

    Raises:
        ValueError: Same as in `check_available`.
        FileNotFoundError: Same as in `check_available`.
    """
    check_available(data)
    try:
        yield
    except NO_DOWNLOAD as error:
        if getattr(data, "name", "") not in HOMES:
            raise
        raise FileNotFoundError(_missing(HOMES[data.name], data, error)) from error


def _has_category(data: Any) -> bool:
    """Return whether the folder of the category exists, so that anomalib downloads nothing."""
    folders = (data.root, getattr(data, "split_root", data.root))  # anomalib splits VisA into a folder of its own
    return any((folder / str(data.category)).is_dir() for folder in folders)


def _archive(data: Any, download: DownloadInfo) -> Path:
    """Return the path at which anomalib looks for a file that was downloaded before."""
    return Path(data.root, download.filename or download.url.rpartition("/")[2])


def _missing(home: Home, data: Any, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return (
        f"{home.name} is not in '{data.root}' and cannot be downloaded ({reason}). Get it from {home.page} and unpack "
        f"it so that there is '{data.root / data.category}', or name the folder of the categories by --data.root."
    )

"""Data sets that anomalib cannot download: where they are offered, and the layout that anomalib expects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MPDD_PAGE = (
    "https://vutbr-my.sharepoint.com/:f:/g/personal/xjezek16_vutbr_cz/"
    "EhHS_ufVigxDo3MC6Lweau0BVMuoCmhMZj6ddamiQ7-FnA?e=oHKCxI"
)
PAGES: Mapping[str, tuple[str, str]] = {
    "MPDD": ("MPDD", MPDD_PAGE),
    "RealIAD": ("Real-IAD", "https://huggingface.co/datasets/REAL-IAD/Real-IAD (access on request)"),
}
"""For each datamodule, the name of its data set and the page that offers it."""


def missing_by_hand(data: str, arguments: Mapping[str, Any], category: str) -> str | None:
    """Return a sentence about a category that is missing and has to be downloaded by hand.

    Args:
        data: name of the datamodule's class.
        arguments: all its constructor arguments except the category.
        category: the category.

    Returns:
        Where to get the data and the paths that are expected; None if the data are there or anomalib can download them.
    """
    if data not in PAGES:
        return None
    name, page = PAGES[data]
    missing = [f"'{path}'" for path in _expected(data, arguments, category) if not path.exists()]
    if not missing:
        return None
    return (
        f"anomalib cannot download {name}. Get it from {page} and unpack it so that there is {' and '.join(missing)}."
    )


def _expected(data: str, arguments: Mapping[str, Any], category: str) -> list[Path]:
    root = Path(arguments["root"])
    if data == "MPDD":
        return [root / category]
    return [
        root / f"realiad_{arguments['resolution']}" / category,
        root / str(arguments["json_path"]).format(category=category),
    ]

"""Names of the columns of a result in tables, and short forms of labels and digests."""

from __future__ import annotations

import re
from collections.abc import Iterable

METRICS = {
    "image_AUROC": "image AUROC",
    "image_F1Max": "image F1max",
    "image_AP": "image AP",
    "pixel_AUROC": "pixel AUROC",
    "pixel_F1Max": "pixel F1max",
    "pixel_PRO": "PRO",
    "pixel_AP": "pixel AP",
}
"""Columns that every result has, with values in [0, 1], and their names in tables."""
ENDINGS = ("_low", "_high")
"""Suffixes of the columns with the bootstrap interval of a metric."""
_FURTHER = {
    r"pixel_PRO@(?P<limit>0?\.\d+|1)": "PRO to FPR {limit}",
    r"pixel_PRO200": "PRO, 200 thresholds",
    r"pixel_AUPIMO": "AUPIMO",
    r"image_APTrapezoid": "image AP, trapezoidal",
    r"image_F1@(?P<threshold>\w+)": "image F1 at the {threshold} threshold",
}
"""Columns that `evaluation` of a configuration adds, each named after its protocol."""
ODD_MASKS, UNKEPT_MAPS = "odd_masks", "unkept_maps"
"""Keys of the evaluation of a result: masks that are not black and white, and the reason for missing maps."""
SHOWN = 12
"""Number of characters that identify a commit."""


def title(metric: str) -> str | None:
    """Return the name of a metric in tables; None for a column that is not a metric."""
    if metric in METRICS:
        return METRICS[metric]
    found = ((re.fullmatch(pattern, metric), text) for pattern, text in _FURTHER.items())
    return next((text.format(**match.groupdict()) for match, text in found if match), None)


def metrics_of(columns: Iterable[str]) -> list[str]:
    """Return the metrics among some columns: those that every result has, then the others in the given order."""
    return [*METRICS, *(name for name in columns if name not in METRICS and title(str(name)))]


def slug(name: str) -> str:
    """Convert a name for use in a file name."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_") or "data"


def short_revision(revision: str) -> str:
    """Return the first characters of a revision, with its "-dirty"."""
    commit, dash, state = revision.partition("-")
    return commit[:SHOWN] + dash + state

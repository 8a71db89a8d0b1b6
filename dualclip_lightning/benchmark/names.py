"""What the columns of a result are called in tables, and how labels and digests are shortened."""

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
"""Columns that every result has, shares in [0, 1], and how tables call them."""
ENDINGS = ("_low", "_high")
"""Endings of the columns that hold the bootstrap interval of a metric."""
_FURTHER = {
    r"pixel_PRO@(?P<limit>0?\.\d+|1)": "PRO to FPR {limit}",
    r"pixel_PRO200": "PRO, 200 thresholds",
    r"pixel_AUPIMO": "AUPIMO",
    r"image_APTrapezoid": "image AP, trapezoidal",
    r"image_F1@(?P<threshold>\w+)": "image F1 at the {threshold} threshold",
}
"""Columns that a configuration adds with `evaluation`: each protocol has a name of its own."""
ODD_MASKS, UNKEPT_MAPS = "odd_masks", "unkept_maps"
"""Keys under which the evaluation of a result says that masks were not black and white, and why it has no maps."""
SHOWN = 12
"""Characters of a commit that tell it from others."""


def title(metric: str) -> str | None:
    """How tables call a metric; None for a column that holds none."""
    if metric in METRICS:
        return METRICS[metric]
    found = ((re.fullmatch(pattern, metric), text) for pattern, text in _FURTHER.items())
    return next((text.format(**match.groupdict()) for match, text in found if match), None)


def metrics_of(columns: Iterable[str]) -> list[str]:
    """The metrics among some columns: those that every result has, then the others in the order given."""
    return [*METRICS, *(name for name in columns if name not in METRICS and title(str(name)))]


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"\W+", "_", name.strip().lower()).strip("_") or "data"


def short_revision(revision: str) -> str:
    """The first characters of a revision, with its "-dirty"."""
    commit, dash, state = revision.partition("-")
    return commit[:SHOWN] + dash + state

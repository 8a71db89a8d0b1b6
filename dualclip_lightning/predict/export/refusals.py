"""Reasons for which a detector cannot be exported."""

from __future__ import annotations

from collections.abc import Iterator

from dualclip_lightning.predict.export.drawing import reaches_too_far
from dualclip_lightning.predict.limits import METHOD
from dualclip_lightning.predict.scoring.comparison import Comparison
from dualclip_lightning.predict.scoring.method import Method
from dualclip_lightning.predict.scoring.thresholds import Threshold

FIXED = "set reference_dir to images of the product (a bundle of 'dualclip calibrate' has some), or compare_with='none'"
OF_MODE = {
    "pairs": f"it compares the images of a call with each other; {FIXED}",
    "stream": f"it compares an image with those before it; {FIXED}",
}
"""Reasons by the kind of references."""


def check_exportable(method: Method, comparison: Comparison, threshold: Threshold | None) -> None:
    """Check that a detector is a function of a single image.

    Raises:
        ValueError: If it is not; the message has the reason and what to do about it.
    """
    for reason in _reasons(method, comparison, threshold):
        msg = f"{method.name} cannot be exported with these settings: {reason}."
        raise ValueError(msg)


def _reasons(method: Method, comparison: Comparison, threshold: Threshold | None) -> Iterator[str]:
    if method.name != METHOD and method.compares:
        yield f"it compares whole images, and a file holds only features of references; use {METHOD}"
    if method.unexportable:
        yield method.unexportable
    if (mode := method.reader.geometry.mode) != "squash":
        yield f"with the geometry '{mode}', views depend on the size of an image; set geometry='squash' (--geometry)"
    if comparison.mode in OF_MODE:
        yield OF_MODE[comparison.mode]
    if reaches_too_far(method.drawer.drawing, method.preprocessing.size):
        yield "its drawing smooths maps over more than an image; set a smaller sigma or radius"
    if threshold is not None and threshold.compared not in {None, bool(comparison.given)}:
        yield "its threshold does not decide such images; calibrate it again, or set another threshold"

"""Versions of what takes part in a score."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

SCORING = ("dualclip_lightning", "torch", "torchvision", "open_clip_torch", "numpy", "pillow", "scipy")
"""What every score goes through."""
ADAPTATION = ("albumentations", "kornia", "opencv-python-headless", "scikit-learn")
"""What draws pseudo anomalies and views, and finds representative vectors."""
ENGINE = ("anomalib", "lightning", "torchmetrics")


@cache
def versions(*libraries: str) -> dict[str, str]:
    """The versions of some libraries and of Python, by name."""
    return {name: version(name) for name in libraries} | {"python": platform.python_version()}

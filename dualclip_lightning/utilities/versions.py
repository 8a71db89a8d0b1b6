"""Versions of the libraries that affect scores."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

SCORING = ("dualclip_lightning", "torch", "torchvision", "open_clip_torch", "numpy", "pillow", "scipy")
"""Libraries that affect every score."""
ADAPTATION = ("albumentations", "anomalib", "opencv-python-headless")
"""Libraries that draw pseudo anomalies, whose noise is anomalib's."""
ENGINE = ("kornia", "lightning", "scikit-learn", "torchmetrics")
"""Other libraries used by methods: for AnoCLIP's views, CLIP-AD's vectors, the Engine and its metrics."""


@cache
def versions(*libraries: str) -> dict[str, str]:
    """Return the versions of some libraries and of Python, by name."""
    return {name: version(name) for name in libraries} | {"python": platform.python_version()}

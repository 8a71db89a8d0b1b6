"""Versions of what takes part in a score."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version

SCORING = ("dualclip_lightning", "torch", "torchvision", "open_clip_torch", "numpy", "pillow", "scipy")
"""What every score goes through."""
ADAPTATION = ("albumentations", "anomalib", "opencv-python-headless")
"""What draws pseudo anomalies; their noise is anomalib's."""
ENGINE = ("kornia", "lightning", "scikit-learn", "torchmetrics")
"""What else takes part in a run of any method: AnoCLIP's views, CLIP-AD's vectors, the Engine and its metrics."""


@cache
def versions(*libraries: str) -> dict[str, str]:
    """The versions of some libraries and of Python, by name."""
    return {name: version(name) for name in libraries} | {"python": platform.python_version()}

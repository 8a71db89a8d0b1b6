"""A benchmark that is small enough for tests: a tiny CLIP on nine images."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from dualclip_lightning.benchmark.plan.config import load_config, parse_config

CONFIGS = Path(__file__).parents[1] / "configs" / "benchmark"
MEASURED = ["seconds", "seconds_per_image", "peak_memory_mb", "started", "git_revision"]
"""Columns that differ between any two runs."""


@cache
def shipped_config(name):
    """Return a configuration that the package ships, which nothing changes."""
    return load_config(CONFIGS / f"{name}.yaml")


def tiny_content(root, weights, **changes):
    """Return a configuration as plain data: two methods on one category, the one with random pairs on three seeds."""
    content = {
        "arguments": {"pretrained": str(weights)},
        "seeds": [0, 1, 2],
        "device": "cpu",
        "methods": {
            "text": {"model": "DualImageCLIP", "arguments": {"alpha": 1.0}, "seeds": [0]},
            "joint": {"model": "DualImageCLIP"},
        },
        "datasets": {"MVTecAD": {"arguments": {"root": str(root)}, "categories": ["metal_nut"]}},
    }
    return content | changes


def tiny_config(root, weights, **changes):
    """Return the same configuration after its checks."""
    return parse_config(tiny_content(root, weights, **changes))


def write_tiny_config(path, root, weights, **changes):
    """Write the same configuration to a file."""
    path.write_text(yaml.safe_dump(tiny_content(root, weights, **changes), sort_keys=False))
    return path


def assert_same_results(first, second):
    """Check that two results agree in everything except measurements of the machine."""
    pd.testing.assert_frame_equal(first.drop(columns=MEASURED), second.drop(columns=MEASURED), atol=1e-6)

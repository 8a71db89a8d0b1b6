"""Runs of anomalib's Engine on the small data set of the tests, and a record of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from anomalib.data import MVTecAD

from dualclip_lightning.testing.runs import Record, run_engine

__all__ = ["Record", "metal_nut", "run_engine"]


def metal_nut(root: Path, **arguments: Any) -> MVTecAD:
    """Return the datamodule of the category in the fixture `mvtec_root`, in batches of 4 by default."""
    return MVTecAD(**{"root": root, "category": "metal_nut", "eval_batch_size": 4, "num_workers": 0} | arguments)

"""Peak memory of a step, of a GPU or of the whole process."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Value that makes Linux reset the peak of the resident size."""


def reset_peak(device: torch.device) -> None:
    """Reset the peak of memory if the system supports it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif os.access(CLEAR, os.W_OK):
        CLEAR.write_text(RESET_PEAK)


def peak_megabytes(device: torch.device) -> float | None:
    """Return the peak memory since `reset_peak` in MB, of the GPU's tensors or of the whole process.

    If the system cannot reset it, as outside Linux, it is the peak since the process began; None if it is unknown.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.is_file() else None
    return int(found[1]) * 1024 / 1e6 if found else _peak_since_start()


def _peak_since_start() -> float | None:
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

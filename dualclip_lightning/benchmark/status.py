"""Status of a cell."""

from __future__ import annotations

import pandas as pd

DONE, FAILED = "done", "failed"


def finished(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with figures."""
    return cells[cells["status"] == DONE]

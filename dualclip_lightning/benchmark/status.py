"""How a cell ended."""

from __future__ import annotations

import pandas as pd

DONE, FAILED = "done", "failed"


def finished(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells that have figures."""
    return cells[cells["status"] == DONE]

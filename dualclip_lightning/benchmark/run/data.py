"""Check of data that cannot be downloaded, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.errors import ConfigError
from dualclip_lightning.data.manual import missing_by_hand


def check_data(cells: Sequence[Cell]) -> None:
    """Check that data which cannot be downloaded are present.

    Raises:
        ConfigError: some are missing; the message has one sentence per data set, about the first missing category.
    """
    found: dict[str, str] = {}
    for cell in cells:
        if cell.dataset not in found and (problem := _data_problem(cell)):
            found[cell.dataset] = f"datasets.{cell.dataset}: {problem}"
    if found:
        raise ConfigError("\n".join(found.values()))


def _data_problem(cell: Cell) -> str | None:
    if not hasattr(catalogue.data_class(cell.data), "find_categories"):
        return missing_by_hand(
            cell.data, catalogue.data_arguments(cell.data) | dict(cell.data_arguments), cell.category
        )
    try:
        cell.datamodule()  # it looks into its folders
    except (ValueError, OSError) as error:
        return str(error)
    return None

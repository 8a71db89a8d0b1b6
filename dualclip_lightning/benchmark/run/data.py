"""Checks of data before anything runs: those that cannot be downloaded, and normal images to train on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.errors import ConfigError
from dualclip_lightning.benchmark.run.engine import no_training_images
from dualclip_lightning.data.manual import missing_by_hand
from dualclip_lightning.pairing import image_names


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


def check_training_images(cells: Iterable[Cell]) -> None:
    """Check that the categories of trained methods have normal images to train on, as far as the data are there.

    Raises:
        ConfigError: some have none; the message has one sentence per category.
    """
    different = {(cell.data, json.dumps(dict(cell.data_arguments), default=str), cell.category): cell for cell in cells}
    found = [no_training_images(cell) for cell in different.values() if _without_training_images(cell)]
    if found:
        raise ConfigError("\n".join(found))


def _without_training_images(cell: Cell) -> bool:
    datamodule = cell.datamodule()
    try:
        datamodule.setup("fit")
    except Exception:  # noqa: BLE001  # the data are not there yet, or cannot be read, which `prepare_data` reports
        return False
    return not image_names(getattr(datamodule, "train_data", None))


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

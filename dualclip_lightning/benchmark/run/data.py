"""Data of cells: checks before anything runs, and downloading or generating each data set once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.errors import ConfigError
from dualclip_lightning.benchmark.run.engine import no_training_images
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.data.manual import missing_by_hand
from dualclip_lightning.pairing import image_names


class DataError(RuntimeError):
    """A data set is missing and cannot be downloaded or generated; the message names root and remedy."""


def check_data(cells: Sequence[Cell]) -> None:
    """Check that data which cannot be downloaded are present.

    Raises:
        ConfigError: some are missing; the message has one sentence per data set, about the first missing category.
    """
    found: dict[str, str] = {}
    for cell in cells:
        where = f"methods.{cell.method}" if cell.trained_categories else f"datasets.{cell.dataset}"
        if where not in found and (problem := _data_problem(cell)):
            found[where] = f"{where}: {problem}"
    if found:
        raise ConfigError("\n".join(found.values()))


def check_training_images(cells: Iterable[Cell]) -> None:
    """Check that the categories of trained methods have normal images to train on, as far as the data are there.

    Raises:
        ConfigError: some have none; the message has one sentence per category.
    """
    different = {part_of(cell): cell for cell in cells}
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


def part_of(cell: Cell) -> tuple[str, ...]:
    """Return what identifies the data of a cell."""
    return cell.data, json.dumps(dict(cell.data_arguments), default=str), cell.category


def prepare(cells: Iterable[Cell]) -> dict[tuple[str, ...], DataError]:
    """Download or generate each data set once, before several processes start; return the errors by data set."""
    parts = {part_of(cell): cell for cell in cells}
    return {part: error for part, cell in parts.items() if (error := _preparation_error(cell)) is not None}


def _preparation_error(cell: Cell) -> DataError | None:
    try:
        with quiet():
            cell.datamodule().prepare_data()
    except Exception as error:  # noqa: BLE001  # recorded with every cell that needs the data
        wrapped = DataError(_say_unprepared(cell, error))
        wrapped.__cause__ = error
        return wrapped
    return None


def _say_unprepared(cell: Cell, error: Exception) -> str:
    root = (catalogue.data_arguments(cell.data) | dict(cell.data_arguments)).get("root")
    text = f"{type(error).__name__}: {error}"
    if root is None:
        return f"The data of {cell.dataset} {cell.category} cannot be prepared ({text})."
    return (
        f"The data of {cell.dataset} {cell.category} are not under '{root}' and cannot be had ({text}). "
        f"Put them there, or set `datasets.{cell.dataset}.arguments.root` to where they are."
    )

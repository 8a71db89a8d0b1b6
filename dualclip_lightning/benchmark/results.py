"""Files of a run: one per cell, and the tables that are assembled from them.

    <folder>/config.yaml             the configuration, resolved
    <folder>/cells/<key>.json        one row of the results, finished or failed
    <folder>/cells/<key>.images.csv  the score of every image
    <folder>/cells/<key>.npz         maps and masks, if requested
    <folder>/cells/<key>.ckpt        checkpoint of an auxiliary training, whose row records what it was trained on
    <folder>/results.csv             one row per cell, in the order of the configuration
    <folder>/images.csv              one row per image
    <folder>/*.parquet               both tables, if requested (`parquet.py`)

Cells are written atomically: the row comes last, and every file first has a temporary name. A key is a digest of
everything that determines the numbers, so a cell with other settings is another file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from dualclip_lightning.benchmark.names import ENDINGS, METRICS, metrics_of
from dualclip_lightning.benchmark.plan.config import read_yaml
from dualclip_lightning.benchmark.status import DONE
from dualclip_lightning.registry import current_name
from dualclip_lightning.utilities.files import write_bytes_atomically

TEXTS_BEFORE = ("key", "status", "error", "method", "model", "kind", "dataset", "category")
NUMBERS = (*METRICS, "num_images", "seconds", "seconds_per_image", "peak_memory_mb")
TEXTS_AFTER = ("device", "precision", "backbone", "weights", "weights_sha256", "weights_origin", "transform",
               "class_path", "package", "parameters", "masks", "evaluation", "data_arguments", "images_sha256",
               "versions", "git_revision", "started")  # fmt: skip
COLUMNS = (*TEXTS_BEFORE, "seed", *NUMBERS, *TEXTS_AFTER)
"""Columns of results.csv, to which `evaluation` in a configuration adds metrics and intervals. `seconds` is the whole
cell with loading, anchors and metrics; `seconds_per_image` is that of preprocessing and method only. `masks` is the
rule by which masks were resized; `package` is the name and version of the package of the method's class, or the file
of a module without one. `weights_origin` (repository and file, or URL), `parameters`, `evaluation`,
`data_arguments` and `versions` are JSON; `images_sha256` is a digest of the images and masks tested."""
IDENTITY = ("key", "method", "dataset", "category", "seed")
"""Columns of images.csv that describe the cell."""
IMAGE_COLUMNS = (*IDENTITY, "image_path", "label", "score")
TEXTS = (*TEXTS_BEFORE, *TEXTS_AFTER, "image_path")
"""Columns of texts in results.csv and images.csv; the others are numbers."""


class Maps(NamedTuple):
    """Maps and masks of one cell."""

    image_path: list[str]
    maps: np.ndarray
    """Maps [N, H, W], float16."""
    masks: np.ndarray
    """Masks [N, H, W], bool."""


@dataclass(frozen=True)
class CellResult:
    """Result of one cell, or the reason of its failure."""

    row: Mapping[str, Any]
    """Values by column of the results, and further entries of the cell's file."""
    images: pd.DataFrame | None = None
    """Image scores with the columns image_path, label and score."""
    maps: Maps | None = None
    checkpoint: bytes | None = None
    """Checkpoint of a training."""


@dataclass(frozen=True)
class BenchmarkRun:
    """A run read back from its folder."""

    folder: Path
    config: dict[str, Any]
    """The resolved configuration."""
    frame: pd.DataFrame
    """The results, with the columns `COLUMNS`."""
    images: pd.DataFrame
    """The scores, with the columns `IMAGE_COLUMNS`; paths are complete if the cell's file has the data folder."""

    def maps(self, key: str) -> dict[str, np.ndarray] | None:
        """Return image_path, maps [N, H, W] and masks [N, H, W] of a cell; None if it has none."""
        path = cell_path(self.folder, key, "npz")
        if not path.is_file():
            return None
        with np.load(path) as arrays:
            found = dict(arrays)
        found["image_path"] = np.array(_whole_paths(found["image_path"].tolist(), _data_root(self.folder, key)))
        return found


def load_run(folder: Path | str) -> BenchmarkRun:
    """Read a run of `dualclip benchmark`.

    Raises:
        FileNotFoundError: the folder has no results.
        ValueError: one of its files is damaged.
    """
    folder = Path(folder)
    if not (folder / "results.csv").is_file():
        msg = f"Expected '{folder}' to hold the results.csv of a run. Give the folder that `dualclip benchmark` wrote."
        raise FileNotFoundError(msg)
    frame = read_table(folder / "results.csv")
    frame = frame.reindex(columns=columns_of(frame))
    config = folder / "config.yaml"
    plain = OmegaConf.to_container(read_yaml(config)) if config.is_file() else {}
    return BenchmarkRun(folder, cast("dict[str, Any]", plain), frame, _read_images(folder))


def columns_of(names: Iterable[str]) -> list[str]:
    """Return the columns of results.csv for rows with these keys, with further metrics last."""
    names = dict.fromkeys(names)
    metrics = metrics_of(names)
    ends = [f"{metric}{ending}" for metric in metrics for ending in ENDINGS if f"{metric}{ending}" in names]
    others = [name for name in COLUMNS if name not in METRICS]
    place = others.index(NUMBERS[len(METRICS)])
    return [*others[:place], *metrics, *ends, *others[place:]]


def cell_path(folder: Path, key: str, ending: str = "json") -> Path:
    """Return the path of a file of a cell."""
    return folder / "cells" / f"{key}.{ending}"


def read_cell(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the row of a cell; None if it is missing or damaged, which counts as not run."""
    path = cell_path(folder, key)
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(row, dict) or "status" not in row:
        return None
    return row | {"model": current_name(row.get("model", ""))}


def is_finished(folder: Path, key: str, with_maps: bool = False) -> bool:
    """Return whether a cell has figures, and maps if requested; or, if it is a training, its checkpoint."""
    row = read_cell(folder, key)
    if row is None or row["status"] != DONE:
        return False
    wanted = ["npz"] * with_maps + ["ckpt"] * ("trained_categories" in row)
    return all(cell_path(folder, key, ending).is_file() for ending in wanted)


def write_cell(folder: Path, result: CellResult) -> None:
    """Write the files of a cell, the row last, so that a cell with a row is complete."""
    key = result.row["key"]
    if result.maps is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **result.maps._asdict())
        write_bytes_atomically(cell_path(folder, key, "npz"), buffer.getvalue())
    if result.checkpoint is not None:
        write_bytes_atomically(cell_path(folder, key, "ckpt"), result.checkpoint)
    if result.images is not None:
        identity = {name: result.row[name] for name in IDENTITY}
        table = result.images.assign(**identity)[list(IMAGE_COLUMNS)]
        write_bytes_atomically(cell_path(folder, key, "images.csv"), table.to_csv(index=False).encode())
    text = json.dumps(dict(result.row), indent=2, allow_nan=False)
    write_bytes_atomically(cell_path(folder, key), text.encode())


def assemble(folder: Path, keys: Iterable[str]) -> pd.DataFrame:
    """Assemble results.csv and images.csv from the existing cells with these keys, and return the results."""
    rows = [_flat(row) for key in keys if (row := read_cell(folder, key)) is not None]
    frame = pd.DataFrame(rows, columns=columns_of(name for row in rows for name in row))
    write_bytes_atomically(folder / "results.csv", frame.to_csv(index=False).encode())
    done = (cell_path(folder, row["key"], "images.csv") for row in rows if row["status"] == DONE)
    lines = [path.read_text(encoding="utf-8").split("\n", 1)[1] for path in done]
    header = ",".join(IMAGE_COLUMNS) + "\n"
    write_bytes_atomically(folder / "images.csv", "".join([header, *lines]).encode())
    return frame


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with its transform on one line, because libraries print it on several."""
    transform = row.get("transform")
    return {**row, "transform": None if transform is None else " ".join(str(transform).split())}


def read_table(path: Path) -> pd.DataFrame:
    """Read results.csv or images.csv; texts stay texts: category "01" is not a number, and "null" is not missing."""
    frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])
    numbers = {name: float for name in (*NUMBERS, *metrics_of(frame)) if name in frame}
    if "model" in frame:
        frame["model"] = frame["model"].map(current_name)
    return frame.astype(numbers)


def _read_images(folder: Path) -> pd.DataFrame:
    path = folder / "images.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(IMAGE_COLUMNS))
    images = read_table(path)
    roots = {key: _data_root(folder, key) for key in images["key"].unique()}
    whole = [_whole_paths([name], roots[key])[0] for key, name in zip(images["key"], images["image_path"], strict=True)]
    return images.assign(image_path=whole)


def _data_root(folder: Path, key: str) -> str | None:
    row = read_cell(folder, key)
    path = cell_path(folder, key)
    if row is None and path.is_file():
        msg = f"'{path}' is damaged. Run `dualclip benchmark` again with this folder: it repeats only that cell."
        raise ValueError(msg)
    return (row or {}).get("data_root")


def _whole_paths(names: list[str], root: str | None) -> list[str]:
    """Prefix relative paths with the data root; absolute paths are unchanged."""
    return names if root is None else [str(Path(root) / name) for name in names]

"""One cell: the method on its data through anomalib's Engine, and what it found."""

from __future__ import annotations

import gc
import json
import tempfile
import time
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from math import isfinite, nan
from pathlib import Path
from typing import Any

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.engine import Engine

from dualclip_lightning.benchmark import catalogue
from dualclip_lightning.benchmark.cells import Cell, libraries
from dualclip_lightning.benchmark.machine import Place, git_revision, peak_megabytes, reset_peak, seeded, threads
from dualclip_lightning.benchmark.methods import build_method, describe_method
from dualclip_lightning.benchmark.recorder import Recorder, data_root
from dualclip_lightning.benchmark.results import COLUMNS, CellResult
from dualclip_lightning.benchmark.status import DONE, FAILED
from dualclip_lightning.benchmark.summary import METRICS
from dualclip_lightning.quiet import quiet


def run_cell(cell: Cell, place: Place = Place()) -> CellResult:  # noqa: B008  # it cannot be changed
    """Run one cell; what goes wrong is its result, too.

    Models of anomalib draw from the global generators. Those are seeded by the cell's seed, and put back whatever
    happens.
    """
    began, start = datetime.now(timezone.utc), time.monotonic()
    try:
        with quiet(), threads(place.threads), seeded(cell.seed):
            result = _score(cell, place)
    except Exception as error:  # noqa: BLE001  # the other cells go on, whatever this one met
        return failed_result(cell, error, began)
    finally:
        _free_memory(cell)
    row = {**_row(cell, began), **result.row, "status": DONE, "seconds": time.monotonic() - start}
    return CellResult(row, result.images, result.maps)


def failed_result(cell: Cell, error: BaseException, began: datetime | None = None) -> CellResult:
    """What is recorded of a cell that failed: the error in one line, and where it came from."""
    message = " ".join(str(error).split())
    origin = "".join(traceback.format_exception(error))
    row = _row(cell, began or datetime.now(timezone.utc))
    return CellResult(row | {"status": FAILED, "error": f"{type(error).__name__}: {message}", "traceback": origin})


def _row(cell: Cell, began: datetime) -> dict[str, Any]:
    """What is known of a cell before it has run; None for the rest."""
    known = {
        **{
            name: getattr(cell, name) for name in ("key", "method", "model", "dataset", "category", "seed", "precision")
        },
        "parameters": json.dumps(dict(cell.arguments) | {"seed": cell.seed}, default=str),
        "device": cell.device,
        "data_arguments": json.dumps(dict(cell.data_arguments), default=str),
        "versions": json.dumps(libraries()),
        "git_revision": git_revision(),
        "started": began.isoformat(timespec="seconds"),
    }
    return {name: known.get(name) for name in COLUMNS}


def _score(cell: Cell, place: Place) -> CellResult:
    device = torch.device("cuda", place.gpu) if cell.device == "cuda" else torch.device("cpu")
    reset_peak(device)
    model, datamodule = build_method(cell), cell.datamodule()
    recorder = Recorder(data_root(datamodule), cell.keep_maps)
    with tempfile.TemporaryDirectory(prefix="dualclip-") as folder:
        engine = _engine(cell, device, Path(folder), recorder)
        if cell.model in catalogue.TRAINED:
            engine.fit(model=model, datamodule=datamodule)
        figures = engine.test(model=model, datamodule=datamodule, ckpt_path=cell.checkpoint, verbose=False)[0]
    row = _found(recorder, figures) | describe_method(model, cell)
    about = {"device": _device_name(device), "peak_memory_mb": peak_megabytes(device), "data_root": recorder.root}
    about["images_sha256"] = recorder.digest()
    return CellResult(row | about, recorder.images(), recorder.maps())


def _engine(cell: Cell, device: torch.device, folder: Path, recorder: Recorder) -> Engine:
    """The Engine without validation, which would take thresholds from labels, and without files to keep."""
    return Engine(
        default_root_dir=folder,
        logger=False,
        callbacks=[recorder, ModelCheckpoint(dirpath=folder, save_top_k=0)],
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index] if device.type == "cuda" else 1,
        precision=cell.precision,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _found(recorder: Recorder, figures: Mapping[str, float]) -> dict[str, Any]:
    images = len(recorder.rows)
    metrics = {name: float(figures[name]) if isfinite(figures.get(name, nan)) else None for name in METRICS}
    return {**metrics, "num_images": images, "seconds_per_image": recorder.seconds / max(images, 1)}


def _device_name(device: torch.device) -> str:
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"


def _free_memory(cell: Cell) -> None:
    """Give the memory of a cell back before the next one measures its own."""
    gc.collect()
    if cell.device == "cuda":
        torch.cuda.empty_cache()

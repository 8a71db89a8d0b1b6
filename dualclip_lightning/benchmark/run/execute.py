"""Running of one cell through anomalib's Engine."""

from __future__ import annotations

import gc
import json
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import torch
from anomalib.data import ImageBatch
from anomalib.metrics import F1Score

from dualclip_lightning.benchmark.names import ENDINGS, ODD_MASKS, UNKEPT_MAPS, metrics_of
from dualclip_lightning.benchmark.plan.cells import Cell, libraries
from dualclip_lightning.benchmark.plan.methods import MethodError, method_class
from dualclip_lightning.benchmark.plan.sources import class_path, package
from dualclip_lightning.benchmark.results import COLUMNS, CellResult
from dualclip_lightning.benchmark.run.engine import fit_on_normal_images, make_engine, train_on_other_data
from dualclip_lightning.benchmark.run.machine import CellPlace, git_revision, seeded, threads
from dualclip_lightning.benchmark.run.methods import build_method, describe_method, is_trained
from dualclip_lightning.benchmark.run.recorder import Recorder, data_root
from dualclip_lightning.benchmark.status import DONE, FAILED
from dualclip_lightning.commandline.quiet import quiet
from dualclip_lightning.images.masks import describe_odd, mask_paths, odd_masks
from dualclip_lightning.measuring.memory import peak_megabytes, reset_peak
from dualclip_lightning.predict.scoring.quantiles import NoThresholdError, from_run


def run_cell(cell: Cell, place: CellPlace = CellPlace()) -> CellResult:  # noqa: B008  # it cannot be changed
    """Run one cell; an error is recorded in its result.

    Models of anomalib draw from the global generators, which are seeded with the cell's seed and always restored.
    """
    began, start = datetime.now(timezone.utc), time.monotonic()
    try:
        with quiet(), threads(place.threads), seeded(cell.seed):
            result = _train(cell, place) if cell.trained_categories else _score(cell, place)
    except Exception as error:  # noqa: BLE001  # the other cells continue after any error
        return failed_result(cell, error, began)
    finally:
        _free_memory(cell)
    row = {**_row(cell, began), **result.row, "status": DONE, "seconds": time.monotonic() - start}
    return replace(result, row=row)


def failed_result(cell: Cell, error: BaseException, began: datetime | None = None) -> CellResult:
    """Return the result of a failed cell: the error in one line, and its origin."""
    message = " ".join(str(error).split())
    origin = "".join(traceback.format_exception(error))
    row = _row(cell, began or datetime.now(timezone.utc))
    return CellResult(row | {"status": FAILED, "error": f"{type(error).__name__}: {message}", "traceback": origin})


def _row(cell: Cell, began: datetime) -> dict[str, Any]:
    """Return the known columns of a cell before it has run; None for the rest."""
    known = {
        **_code(cell),
        **{
            name: getattr(cell, name) for name in ("key", "method", "model", "dataset", "category", "seed", "precision")
        },
        "parameters": json.dumps(dict(cell.arguments) | {"seed": cell.seed}, default=str),
        "device": cell.device,
        "data_arguments": json.dumps(dict(cell.data_arguments), default=str),
        "masks": cell.masks,
        "evaluation": json.dumps(dict(cell.evaluation)),
        "versions": json.dumps(libraries()),
        "git_revision": git_revision(),
        "started": began.isoformat(timespec="seconds"),
    }
    return {name: known.get(name) for name in COLUMNS}


def _code(cell: Cell) -> dict[str, str]:
    """Return class and package of a method; nothing if its class cannot be found, as on another machine."""
    try:
        owner = method_class(cell.model)
    except MethodError:
        return {}
    return {"class_path": class_path(owner), "package": package(owner)}


def _train(cell: Cell, place: CellPlace) -> CellResult:
    """Train an auxiliary method and return its checkpoint, with the provenance of the layers and of their data."""
    device = _device(cell, place)
    reset_peak(device)
    with tempfile.TemporaryDirectory(prefix="dualclip-") as folder:
        engine = make_engine(cell, device, Path(folder))
        trained = train_on_other_data(engine, build_method(cell), cell, Path(folder) / "trained.ckpt")
    about = {"device": _device_name(device), "peak_memory_mb": peak_megabytes(device)}
    about |= {"images_sha256": trained.images_digest, "num_images": trained.images, "data_root": trained.root}
    row = describe_method(trained.model, cell) | about | {"trained_categories": list(cell.trained_categories)}
    return CellResult(row, checkpoint=trained.checkpoint)


def _device(cell: Cell, place: CellPlace) -> torch.device:
    return torch.device("cuda", place.gpu) if cell.device == "cuda" else torch.device("cpu")


def _score(cell: Cell, place: CellPlace) -> CellResult:
    device = _device(cell, place)
    reset_peak(device)
    model, datamodule = build_method(cell), cell.datamodule()
    recorder = Recorder(data_root(datamodule), cell.keep_maps)
    with tempfile.TemporaryDirectory(prefix="dualclip-") as folder:
        engine = make_engine(cell, device, Path(folder), recorder)
        drawn = fit_on_normal_images(engine, model, datamodule, cell) if is_trained(model) else None
        figures = engine.test(model=model, datamodule=datamodule, ckpt_path=cell.checkpoint, verbose=False)[0]
    row = _found(recorder, figures, cell) | describe_method(model, cell)
    odd, unkept = odd_masks(mask_paths(datamodule.test_data)), recorder.unkept()
    said = ({ODD_MASKS: describe_odd(odd)} if odd else {}) | ({UNKEPT_MAPS: unkept} if unkept else {})
    if said:
        row["evaluation"] = json.dumps({**cell.evaluation, **said})
    row |= {} if drawn is None else {"training_images": drawn}
    about = {"device": _device_name(device), "peak_memory_mb": peak_megabytes(device), "data_root": recorder.root}
    about["images_sha256"] = recorder.digest()
    return CellResult(row | about, recorder.images(), recorder.maps())


def _found(recorder: Recorder, figures: Mapping[str, float], cell: Cell) -> dict[str, Any]:
    images = len(recorder.rows)
    names = metrics_of(figures)
    names += [f"{name}{end}" for name in names for end in ENDINGS if f"{name}{end}" in figures]
    metrics = {name: float(figures[name]) if isfinite(figures.get(name, nan)) else None for name in names}
    if cell.evaluation.get("threshold"):
        metrics[f"image_F1@{cell.evaluation['threshold']}"] = _f1_at_threshold(recorder)
    return {**metrics, "num_images": images, "seconds_per_image": recorder.seconds / max(images, 1)}


class _Image(NamedTuple):
    """An image as input for a threshold."""

    score: float
    peak: float
    references: tuple[str, ...] = ()


def _f1_at_threshold(recorder: Recorder) -> float | None:
    """Return the F1 of the images at the threshold of `dualclip predict` for an unlabelled run; None without one.

    The scores of all images of the cell give the threshold; F1 is computed from the labelled ones.
    """
    images = recorder.images()
    try:
        threshold = from_run([_Image(score, score) for score in images["score"].tolist()])
    except NoThresholdError:  # too few images, or many with one highest score
        return None
    labelled = images.dropna(subset=["label"])
    judged = ImageBatch(
        image=torch.zeros(len(labelled), 3, 1, 1),
        gt_label=torch.tensor(labelled["label"].to_numpy(int)),
        pred_label=torch.tensor((labelled["score"] > threshold.score).to_numpy()),
    )
    metric = F1Score(fields=["pred_label", "gt_label"])
    metric.update(judged)
    return float(metric.compute())


def _device_name(device: torch.device) -> str:
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"


def _free_memory(cell: Cell) -> None:
    """Release the memory of a cell before the next one measures its own."""
    gc.collect()
    if cell.device == "cuda":
        torch.cuda.empty_cache()

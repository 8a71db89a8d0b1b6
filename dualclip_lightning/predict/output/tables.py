"""The tables of a run, each written atomically."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.output.report import Report
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

COLUMNS = ("path", "score", "decision", "p_value", "threshold", "references", "reference", "heatmap", "height", "width",
           "geometry", "seconds", "notes")  # fmt: skip


def write_tables(report: Report, layout: Layout) -> None:
    """Write `scores.csv`, `failures.csv` and `threshold.json` of a run.

    Raises:
        OSError: If a file cannot be written.
    """
    write_scores(layout.folder / "scores.csv", report.entries, report.threshold, layout)
    write_failures(layout.folder / "failures.csv", report.failures)
    if report.threshold is not None:
        report.threshold.save(layout.folder / "threshold.json")


def write_scores(path: Path, entries: Iterable[Entry], threshold: Threshold | None, layout: Layout) -> None:
    """Write `scores.csv`, one row per image; bytes of names that are not valid UTF-8 appear as backslash escapes.

    A row has the number of images that the image was compared with, and the path if there is only one. The heatmap's
    path is relative to the folder of the results, and empty if there is no heatmap.
    """
    _write_csv(path, COLUMNS, (_row(entry, threshold, layout) for entry in entries))


def _row(entry: Entry, threshold: Threshold | None, layout: Layout) -> tuple[object, ...]:
    heatmap = layout.path("heatmaps", entry.name)
    there = heatmap.relative_to(layout.folder).as_posix() if heatmap.is_file() else ""
    return score_row(entry, threshold, there)


def score_row(image: Entry | Prediction, threshold: Threshold | None, heatmap: str = "") -> tuple[object, ...]:
    """Return the row of one image, with the path of its heatmap if there is one."""
    decision = Decision() if threshold is None else threshold.decide(image)
    return (
        image.name, f"{image.score:.6f}", decision.word,
        "" if decision.p_value is None else f"{decision.p_value:.6f}",
        "" if threshold is None else f"{threshold.score:.6f}",
        len(image.references), image.references[0] if len(image.references) == 1 else "", heatmap,
        *image.size, image.geometry, f"{image.seconds:.3f}", "; ".join(filter(None, (*image.notes, decision.reason))),
    )  # fmt: skip


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """Write `failures.csv`, one row per image that could not be used; write no file if there are none."""
    if failures:
        _write_csv(path, ("path", "reason"), failures)
    else:
        path.unlink(missing_ok=True)


def threshold_facts(threshold: Threshold | None) -> dict[str, Any] | None:
    """Return a threshold as plain data, without settings and scores, which are stored separately."""
    stored = {"settings", "scores"}
    return None if threshold is None else {k: v for k, v in asdict(threshold).items() if k not in stored}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    write_bytes_atomically(path, csv_text([columns, *rows]).encode())


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV; bytes that are not valid UTF-8 appear as backslash escapes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()

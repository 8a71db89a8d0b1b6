"""The tables of a run, each written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import SUFFIXES, Layout
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

COLUMNS = ("path", "score", "decision", "p_value", "threshold", "references", "reference", "heatmap", "height", "width",
           "geometry", "seconds", "notes")  # fmt: skip


def write_scores(path: Path, entries: Iterable[Entry], threshold: Threshold | None, layout: Layout) -> None:
    """`scores.csv`, a row an image; bytes of names that are no UTF-8 appear as backslash escapes.

    Of the images it was compared with the row has their number, and the path where it is one. The heatmap's path is
    below the folder of the results; empty where there is none.
    """
    _write_csv(path, COLUMNS, (_row(entry, threshold, layout) for entry in entries))


def _row(entry: Entry, threshold: Threshold | None, layout: Layout) -> tuple[object, ...]:
    decision = Decision() if threshold is None else threshold.decide(entry)
    heatmap = layout.path("heatmaps", entry.name, SUFFIXES["heatmaps"])
    return (
        entry.name, f"{entry.score:.6f}", decision.word,
        "" if decision.p_value is None else f"{decision.p_value:.6f}",
        "" if threshold is None else f"{threshold.score:.6f}",
        len(entry.references), entry.references[0] if len(entry.references) == 1 else "",
        heatmap.relative_to(layout.folder).as_posix() if heatmap.is_file() else "",
        *entry.size, entry.geometry, f"{entry.seconds:.3f}", "; ".join(filter(None, (*entry.notes, decision.reason))),
    )  # fmt: skip


def write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """`failures.csv`, a row an image that could not be used; none at all if there are none."""
    if failures:
        _write_csv(path, ("path", "reason"), failures)
    else:
        path.unlink(missing_ok=True)


def threshold_facts(threshold: Threshold | None) -> dict[str, Any] | None:
    """A threshold as plain data, without settings and scores, which are stored beside it anyway."""
    stored = {"settings", "scores"}
    return None if threshold is None else {k: v for k, v in asdict(threshold).items() if k not in stored}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes_atomically(path, text.getvalue().encode("utf-8", "backslashreplace"))

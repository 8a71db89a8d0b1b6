"""Tables of a run: one row per method, one column per metric, with mean and spread and the two best marked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from dualclip_lightning.benchmark.names import metrics_of, slug, title
from dualclip_lightning.benchmark.report.comparisons import comparisons
from dualclip_lightning.benchmark.report.ranks.methods import rank_all
from dualclip_lightning.benchmark.report.ranks.tables import numbers as rank_numbers
from dualclip_lightning.benchmark.report.ranks.tables import rank_table, significance_table
from dualclip_lightning.benchmark.report.render import Table, TableCell, latex, markdown, terminal
from dualclip_lightning.benchmark.report.summary import DIGITS, DatasetSummary, differing, failures, summaries
from dualclip_lightning.benchmark.results import BenchmarkRun
from dualclip_lightning.benchmark.status import finished
from dualclip_lightning.utilities.files import write_bytes_atomically

MISSING = "n/a"
OTHER_MASKS = "‡"
"""Mark of pixel figures that use a different rule for masks than most methods."""


def write_tables(run: BenchmarkRun) -> list[Path]:
    """Write the tables of every data set into `tables/` of the run folder, and return the files.

    `<data set>.md`, `.tex` and `.csv` hold the mean over categories and every category. Where there are any,
    `<data set>_intervals.*` hold bootstrap intervals, `<data set>_published.*` the figures next to published ones,
    `ranks.*` the mean ranks of the methods, and `failed.*` the cells that did not finish.
    """
    documents = [(dataset, list(group), numbers(part)) for dataset, part, group in _by_dataset(run)]
    for dataset, cells in run.frame.groupby("dataset", sort=False):
        intervals = interval_table(cells)
        if intervals is not None:
            frame = pd.DataFrame([[cell.text for cell in row] for row in intervals.rows], columns=intervals.columns)
            documents.append((f"{dataset}_intervals", [intervals], frame))
    documents += [(f"{dataset}_published", [table], figures) for dataset, table, figures in comparisons(run.frame)]
    rankings = rank_all(run.frame)
    if rankings:
        documents.append(("ranks", [rank_table(rankings), significance_table(rankings)], rank_numbers(rankings)))
    failed = failures(run.frame)
    if len(failed):
        documents.append(("failed", [failed_table(failed)], failed))
    return [path for name, tables, frame in documents for path in _write(run.folder / "tables", name, tables, frame)]


def show_tables(run: BenchmarkRun, console: Console) -> None:
    """Print the mean over categories of every data set, the comparison with published figures, and what failed."""
    tables = [summary_table(part) for part in summaries(run.frame) if part.category is None]
    tables += [table for _, table, _ in comparisons(run.frame)]
    failed = failures(run.frame)
    if len(failed):
        tables.append(failed_table(failed))
    for table in tables:
        console.print(*terminal(table, console.width))


def summary_table(summary: DatasetSummary) -> Table:
    """Return the table of one summary; a metric that no method has is left out."""
    metrics = [metric for metric in summary.mean if summary.planned[metric].any()]
    other = differing(summary.methods, metrics)
    rows = [
        [TableCell(method), TableCell(str(about["kind"])), TableCell(str(about["seeds"])),
         *(_figure(summary, other, method, metric) for metric in metrics),
         TableCell(_seconds(about["seconds_per_image"]))]
        for method, about in summary.methods.iterrows()
    ]  # fmt: skip
    where = summary.category or "mean over categories"
    columns = ["method", "kind", "seeds", *(str(title(metric)) for metric in metrics), "s/image"]
    return Table(f"{summary.dataset}, {where} (in %)", columns, rows, list(_notes(summary)), text_columns=2)


def numbers(parts: Sequence[DatasetSummary]) -> pd.DataFrame:
    """Return plain numbers, one row per category and method: mean, spread, rank and cells of every metric."""
    return pd.concat([_numbers(part) for part in parts], ignore_index=True)


def interval_table(cells: pd.DataFrame) -> Table | None:
    """Return the figures of each method's and category's first finished seed with intervals; None without any."""
    first = finished(cells).sort_values("seed", kind="stable").drop_duplicates(["method", "category"]).sort_index()
    metrics = [name for name in metrics_of(cells) if f"{name}_low" in first and first[f"{name}_low"].notna().any()]
    if not metrics:
        return None
    rows = [
        [TableCell(row["category"]), TableCell(row["method"]), TableCell(f"{row['seed']:.0f}"),
         *(TableCell(_interval(*row[[name, f"{name}_low", f"{name}_high"]])) for name in metrics)]
        for _, row in first.iterrows()
    ]  # fmt: skip
    resamples = json.loads(first["evaluation"].iloc[0])["bootstrap"]
    said = f"In brackets the 95 % interval of {resamples} bootstrap resamples of the images"
    notes = [f"{said}: it says nothing about other seeds."]
    columns = ["category", "method", "seed", *(str(title(name)) for name in metrics)]
    return Table(f"{cells['dataset'].iloc[0]}, intervals (in %)", columns, rows, notes, text_columns=2)


def failed_table(failed: pd.DataFrame) -> Table:
    """Return the table of the cells that did not finish, with the last line of each error."""
    last = failed["error"].fillna("no reason recorded").astype(str).str.strip().str.split("\n").str[-1]
    rows = [[TableCell(str(value)) for value in row] for row in failed.assign(error=last).itertuples(index=False)]
    return Table(f"Cells without a result: {len(rows)}", list(failed.columns), rows, text_columns=len(failed.columns))


def _by_dataset(run: BenchmarkRun) -> Iterator[tuple[str, list[DatasetSummary], Iterator[Table]]]:
    parts = list(summaries(run.frame))
    for dataset in dict.fromkeys(part.dataset for part in parts):
        own = [part for part in parts if part.dataset == dataset]
        yield dataset, own, map(summary_table, own)


def _write(folder: Path, name: str, tables: Sequence[Table], frame: pd.DataFrame) -> Iterator[Path]:
    base = slug(name)
    labels = (f"tab:{base}" + (f"_{number}" if number else "") for number in range(len(tables)))
    contents = {
        "md": "\n".join(map(markdown, tables)),
        "tex": "\n".join(latex(table, label) for table, label in zip(tables, labels, strict=False)),
        "csv": frame.to_csv(index=False),
    }
    for ending, content in contents.items():
        path = folder / f"{base}.{ending}"
        write_bytes_atomically(path, content.encode())
        yield path


def _figure(summary: DatasetSummary, other_masks: pd.DataFrame, method: str, metric: str) -> TableCell:
    mean, spread = summary.mean.loc[method, metric], summary.spread.loc[method, metric]
    if pd.isna(mean):
        return TableCell(MISSING)
    gap = "†" if summary.found.loc[method, metric] < summary.planned.loc[method, metric] else ""
    gap += OTHER_MASKS if other_masks.loc[method, metric] else ""
    shown = f"{mean:.{DIGITS}f}{gap}" + ("" if pd.isna(spread) else f" ± {spread:.{DIGITS}f}")
    return TableCell(shown, summary.rank.loc[method, metric])


def _interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return MISSING
    shown = (f"{100 * number:.{DIGITS}f}" for number in (value, low, high))
    return "{} [{}, {}]".format(*shown) if pd.notna(low) else next(shown)


def _seconds(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.3g}"


def _notes(summary: DatasetSummary) -> Iterator[str]:
    if summary.spread.notna().any(axis=None):
        yield "± is the standard deviation over seeds of the mean over categories."
    yield from summary.remarks
    yield from mask_notes(summary)
    for method, lacking in (summary.planned - summary.found).iterrows():
        planned, found = summary.planned.loc[method].max(), summary.found.loc[method].max()
        if found == 0:
            yield f"{method}: none of {planned} cells has a result."
            continue
        if planned > found:
            gap = f"{planned - found} of {planned} cells are missing"
            yield f"† {method}: {gap}; its mean rests on the others and is not ranked."
        absent = lacking == summary.planned.loc[method]
        if absent.any():
            names = ", ".join(str(title(str(metric))) for metric in lacking.index[absent])
            yield f"{method} has no {names}."
        for metric, count in lacking[(lacking > planned - found) & ~absent].items():
            gap = f"{title(str(metric))} does not exist in {count} of {summary.planned.loc[method, metric]} cells"
            yield f"† {method}: {gap}; its mean rests on the others and is not ranked."


def mask_notes(summary: DatasetSummary) -> Iterator[str]:
    """Yield the rule by which masks were resized, and the methods that use another."""
    rules = summary.methods["masks"][summary.methods["masks"] != "n/a"]
    if rules.empty or not summary.mean.filter(like="pixel").notna().any(axis=None):
        return
    usual = rules.mode()[0]
    yield f"Pixel figures are those of {usual} masks."
    for rule, others in rules[rules != usual].groupby(rules):
        yield f"{OTHER_MASKS} {', '.join(others.index)}: {rule} masks, another protocol, which is not ranked."


def _numbers(part: DatasetSummary) -> pd.DataFrame:
    identity = {"dataset": part.dataset, "category": part.category or "mean", "method": part.methods.index}
    columns = {
        f"{metric}{ending}": table[metric]
        for metric in part.mean
        for ending, table in (("", part.mean), ("_std", part.spread), ("_rank", part.rank), ("_cells", part.found))
    }
    return part.methods.assign(**identity, **columns).reset_index(drop=True)[[*identity, *part.methods, *columns]]

"""The summary printed at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from dualclip_lightning.images.finding.listing import Listing
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.report import Report
from dualclip_lightning.predict.scoring.thresholds import counted

MOST_LISTED = 20
"""Maximum number of anomalous images, and of images that could not be used, that are named on the screen."""
HIGHEST = 3
"""Number of scores that are shown if nothing is anomalous or decided."""


def summarise(report: Report, listing: Listing, folder: Path) -> Iterator[str]:
    """Yield lines for the screen: counts, unusable images, the threshold, the anomalous images, the folder.

    Args:
        report: report of the run.
        listing: listing of the requested images.
        folder: folder of the results.
    """
    scored = {entry.name for entry in report.entries}
    undrawn = [failure for failure in report.failures if failure.name in scored]
    unused = len(listing.paths) - len(scored)
    before = f" ({report.resumed} of them before)" * bool(report.resumed)
    yield f"{counted(len(listing.paths), 'image')}: {len(scored)} scored{before}, {unused} could not be used."
    if listing.unreadable:
        yield f"{counted(len(listing.unreadable), 'folder')} could not be read."
    if undrawn:
        yield f"{counted(len(undrawn), 'scored image')} could not be drawn."
    if listing.others:
        yield f"{counted(listing.others, 'other file')} in the folders ignored, by the suffix of the name."
    if listing.left_out:
        yield printable(listing.left_out)
    named = [f"not used: {printable(f.name)}: {printable(f.reason)}" for f in report.failures]
    yield from _listed(named, len(named), "failures.csv")
    yield from _decisions(report)
    page = folder / "index.html"
    yield printable(f"Results: {folder}" + f" (open {page})" * page.is_file())


def _decisions(report: Report) -> Iterator[str]:
    ranked = sorted(report.entries, key=lambda entry: -entry.score)
    if report.threshold is None:
        yield from _highest(ranked)
        return
    yield report.threshold.describe()
    decisions = [report.threshold.decide(entry) for entry in ranked]
    words = [decision.word for decision in decisions]
    anomalous = [entry for entry, word in zip(ranked, words, strict=True) if word == "anomalous"]
    without = f", {words.count('')} without a decision" * ("" in words)
    images = counted(len(ranked), "scored image")
    yield f"Of {images}: {len(anomalous)} anomalous, {words.count('normal')} normal{without}."
    yield from sorted({f"  {decision.reason}" for decision in decisions if not decision.word})
    if anomalous:
        yield from _listed(map(_line, anomalous), len(anomalous), "scores.csv")
    else:
        yield from _highest(ranked)


def _highest(ranked: Sequence[Entry]) -> Iterator[str]:
    if ranked:
        yield "Highest scores:"
        yield from (f"  {_line(entry)}" for entry in ranked[:HIGHEST])


def _listed(lines: Iterable[str], count: int, file: str) -> Iterator[str]:
    """Yield the first lines, and the number of further ones in a file."""
    yield from (f"  {line}" for line in islice(lines, MOST_LISTED))
    if count > MOST_LISTED:
        yield f"  and {count - MOST_LISTED} more, all in {file}"


def _line(entry: Entry) -> str:
    return f"{entry.score:.4f}  {printable(entry.name)}"


def printable(name: str) -> str:
    """Return a name on one line that any terminal can show."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode(sys.stdout.encoding or "utf-8")

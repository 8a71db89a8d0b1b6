"""The files that show a whole run: regions, annotations and the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualclip_lightning.predict.output.gallery import write_gallery
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.regions.results import RegionFinder, write_regions
from dualclip_lightning.predict.output.report import Report


def write_overviews(
    report: Report, finder: RegionFinder, layout: Layout, settings: Mapping[str, Any], *, coco: bool, gallery: int,
    again: str,
) -> None:  # fmt: skip
    """Write `predictions.jsonl`, and if requested `coco.json` and the gallery.

    Args:
        report: results of the run.
        finder: finder of the regions.
        layout: locations of the heatmaps.
        settings: settings of the detector, shown in the gallery.
        coco: whether to write `coco.json`.
        gallery: maximum number of images in the gallery; 0 writes none.
        again: the command that makes new decisions if `--threshold NUMBER` is appended.

    Raises:
        OSError: If a file cannot be written.
    """
    regions = write_regions(report.entries, finder, layout, coco=coco)
    if gallery:
        write_gallery(
            layout.folder / "index.html", report.entries, report.failures, layout, report.threshold, _facts(settings),
            gallery, again, regions,
        )  # fmt: skip


def _facts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as short texts."""
    return {key.replace("_", " "): str(value) for key, value in settings.items() if value not in (None, [], {})}

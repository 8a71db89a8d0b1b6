"""The files of a run that list regions: `predictions.jsonl`, and `coco.json` on request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from dualclip_lightning.predict.output.journal import Entry, Journal
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.output.prediction import Prediction
from dualclip_lightning.predict.output.regions.coco import CocoDataset
from dualclip_lightning.predict.output.regions.region import Region, find_regions
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

PREDICTIONS, COCO = "predictions.jsonl", "coco.json"
ShownRegions = dict[str, list[dict[str, Any]]]


class RegionFinder(NamedTuple):
    """Finder of the regions of the images of a journal."""

    journal: Journal
    threshold: Threshold | None
    drawer: Drawer
    min_area: int = 0

    def __call__(self, entry: Entry) -> list[Region] | None:
        """Return the regions of an image as `find_regions` does; None if there is no decision on it."""
        if self.threshold is None or not (word := self.threshold.decide(entry).word):
            return None
        if word == "normal":
            return []
        patch_map = self.journal.patch_map(entry.name)
        level = self.threshold.level(entry, self.drawer.on_patches(patch_map))
        return find_regions(self.drawer(patch_map, entry.size), level, self.min_area)


def write_regions(entries: Iterable[Entry], finder: RegionFinder, layout: Layout, *, coco: bool) -> ShownRegions:
    """Write `predictions.jsonl`, one line per image, and with `coco` also `coco.json`, if there is a threshold.

    Images without a decision are not in `coco.json`, where they would look like normal ones.

    Returns:
        The regions for the gallery, by the name of the image; with polygons where no heatmap shows the outlines.

    Raises:
        OSError: If a file cannot be written.
    """
    lines, dataset = [], CocoDataset()
    shown: ShownRegions = {}
    for entry in entries:
        regions = finder(entry)
        lines.append(json.dumps(_line(entry, regions, finder.threshold, layout)))
        if regions:
            drawn = layout.path("heatmaps", entry.name).is_file()
            shown[entry.name] = [
                region.to_dict() | ({} if drawn else {"polygon": region.polygon.ravel().tolist()}) for region in regions
            ]
        if regions is not None:
            dataset.add(_text(layout.relative(entry.name).as_posix()), entry.size, regions)
    write_bytes_atomically(layout.folder / PREDICTIONS, "".join(f"{line}\n" for line in lines).encode())
    if coco and finder.threshold is not None:
        write_bytes_atomically(layout.folder / COCO, json.dumps(dataset.content).encode())
    else:
        (layout.folder / COCO).unlink(missing_ok=True)
    return shown


def _line(entry: Entry, regions: list[Region] | None, threshold: Threshold | None, layout: Layout) -> dict[str, Any]:
    heatmap = layout.path("heatmaps", entry.name)
    there = _text(heatmap.relative_to(layout.folder).as_posix()) if heatmap.is_file() else None
    return prediction_facts(entry, regions, threshold, there)


def prediction_facts(
    image: Entry | Prediction, regions: list[Region] | None, threshold: Threshold | None, heatmap: str | None = None
) -> dict[str, Any]:
    """Return the content of one image's line in `predictions.jsonl`, with the path of its heatmap if there is one."""
    decision = Decision() if threshold is None else threshold.decide(image)
    return {
        "path": _text(image.name),
        "score": round(image.score, 6),
        "decision": decision.word or None,
        "p_value": decision.p_value,
        "threshold": None if threshold is None else threshold.score,
        "height": image.size[0],
        "width": image.size[1],
        "regions": None if regions is None else [region.to_dict() for region in regions],
        "references": [_text(name) for name in image.references],
        "heatmap": heatmap,
        "geometry": image.geometry,
        "seconds": round(image.seconds, 3),
        "notes": [*image.notes, *filter(None, [decision.reason])],
    }


def _text(name: str) -> str:
    """Return a name as text; bytes that are not valid UTF-8 appear as backslash escapes, as in `scores.csv`."""
    return name.encode("utf-8", "backslashreplace").decode()

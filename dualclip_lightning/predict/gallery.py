"""One HTML file with the most anomalous images of a run, which needs nothing but itself."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.journal import Entry
from dualclip_lightning.predict.outputs import Layout
from dualclip_lightning.predict.thresholds import Decision, Threshold

WIDEST, TALLEST, QUALITY = 640, 360, 80
"""Of a picture in the gallery: pixels, and JPEG's quality."""


def write_gallery(
    path: Path,
    entries: Sequence[Entry],
    failures: Sequence[Failure],
    layout: Layout,
    threshold: Threshold | None,
    facts: Mapping[str, Any],
    most: int,
) -> None:
    """Write the gallery.

    Args:
        path: of the HTML file.
        entries: scored images in any order.
        failures: listed below with their reasons.
        layout: where the heatmaps lie; an image without one is shown without a picture.
        threshold: decides; None for scores alone.
        facts: named values for the head of the page.
        most: how many images are shown, the highest scores first; all are in scores.csv.

    Raises:
        OSError: the file cannot be written.
    """
    ranked = sorted(entries, key=lambda entry: (-entry.score, entry.name))
    cards = [
        {
            "entry": entry,
            "name": layout.relative(entry.name),
            "references": [_shown(layout.relative(name), name) for name in entry.references],
            "decision": Decision() if threshold is None else threshold.decide(entry),
            "picture": _embedded(layout.path("heatmaps", entry.name, ".png")),
        }
        for entry in ranked[:most]
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dualclip_lightning.predict"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("gallery.html.j2").render(
        cards=cards, folder=layout.root, failures=failures, threshold=threshold, facts=facts, total=len(ranked),
        anomalous=0 if threshold is None else sum(threshold.decide(e).word == "anomalous" for e in entries),
    )  # fmt: skip
    write_bytes_atomically(path, page.encode("utf-8", "backslashreplace"))


def _shown(relative: Path, name: str) -> str:
    """A reference's path below the images' folder, or as given where it lies elsewhere."""
    return name if os.pardir in relative.parts else str(relative)


def _embedded(path: Path) -> str | None:
    """A picture as a data address, small enough to embed many; None if there is none."""
    if not path.is_file():
        return None
    with Image.open(path, formats=["PNG"]) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDEST, TALLEST))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

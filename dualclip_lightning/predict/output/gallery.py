"""An HTML page for browsing and marking the images of a run; it shows the heatmaps stored beside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jinja2

from dualclip_lightning.images.picture import size_text
from dualclip_lightning.images.sources import Failure
from dualclip_lightning.predict.output.journal import Entry
from dualclip_lightning.predict.output.layout import Layout
from dualclip_lightning.predict.scoring.thresholds import Decision, Threshold
from dualclip_lightning.utilities.files import write_bytes_atomically

SCRIPTS = ("page.js", "marks.js", "scores.js", "cards.js", "gallery.js")
"""Files that are joined to one script, in this order."""


def write_gallery(
    path: Path,
    entries: Sequence[Entry],
    failures: Sequence[Failure],
    layout: Layout,
    threshold: Threshold | None,
    facts: Mapping[str, Any],
    most: int,
    again: str = "dualclip predict PATH",
    regions: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType({}),
) -> None:
    """Write the gallery.

    Args:
        path: path of the HTML file.
        entries: scored images in any order.
        failures: images that could not be used, with their reasons.
        layout: locations of the heatmaps; for an image without one, the page shows the image itself.
        threshold: threshold for the decisions; None for scores only.
        facts: named values, shown in a collapsed section at the top of the page.
        most: maximum number of images on the page, the highest scores first; all are in scores.csv.
        again: the command that makes new decisions if `--threshold NUMBER` is appended.
        regions: regions of anomalous images by name, from `write_regions`.

    Raises:
        OSError: If the file cannot be written.
    """
    ranked = sorted(entries, key=lambda entry: (-entry.score, entry.name))
    decisions = [Decision() if threshold is None else threshold.decide(entry) for entry in ranked]
    content = _content(list(zip(ranked, decisions, strict=True))[:most], failures, layout, path.parent)
    for image, entry in zip(content["images"], ranked, strict=False):
        image["regions"] = regions.get(entry.name, ())
    content |= {"threshold": None if threshold is None else threshold.score, "again": again}
    style, script = _read("gallery.css"), "\n".join(map(_read, SCRIPTS))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dualclip_lightning.predict.output"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("gallery.html.j2").render(
        total=len(ranked), shown=len(content["images"]), anomalous=sum(d.word == "anomalous" for d in decisions),
        threshold=threshold, failed=len(failures), facts=facts, folder=layout.root, content=content,
        style=style, style_digest=_digest(style), script=script, script_digest=_digest(script),
    )  # fmt: skip
    write_bytes_atomically(path, page.encode("utf-8", "backslashreplace"))


def _content(
    ranked: Sequence[tuple[Entry, Decision]], failures: Sequence[Failure], layout: Layout, home: Path
) -> dict[str, Any]:
    """Return the content for the script as plain data; references are given by number, as many images may share one."""
    numbers: dict[str, int] = {}
    images = [
        {
            **_named(entry.name, layout, home),
            # Marks are kept for this state of the file; it is text because the numbers exceed a double's precision.
            "state": "-".join(map(str, entry.stamp)),
            "score": entry.score,
            "word": decision.word,
            "p": decision.p_value,
            "reason": decision.reason,
            "heatmap": _heatmap(entry, layout, home),
            "size": size_text(entry.size),
            "geometry": entry.geometry,
            "references": [numbers.setdefault(name, len(numbers)) for name in entry.references],
            "notes": entry.notes,
        }
        for entry, decision in ranked
    ]
    failed = [{**_named(name, layout, home), "word": "failed", "reason": _text(reason)} for name, reason in failures]
    return {"images": images, "failed": failed, "references": [_shown(name, layout) for name in numbers]}


def _named(name: str, layout: Layout, home: Path) -> dict[str, str]:
    """Return an image's name as shown, its absolute path for lists, and its address relative to the page."""
    return {"name": _shown(name, layout), "path": os.path.abspath(name), "image": _address(Path(name), home)}  # noqa: PTH100 - links stay as named


def _heatmap(entry: Entry, layout: Layout, home: Path) -> str | None:
    path = layout.path("heatmaps", entry.name)
    return _address(path, home) if path.is_file() else None


def _address(path: Path, home: Path) -> str:
    """Return a file's address relative to the page, so that both can be moved together."""
    try:
        relative = os.path.relpath(path, home)
    except ValueError:  # on another drive
        return path.absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _shown(name: str, layout: Layout) -> str:
    """Return an image's path relative to the images' folder, or as given if it lies elsewhere."""
    relative = layout.relative(name)
    return _text(name if os.pardir in relative.parts else str(relative))


def _text(name: str) -> str:
    """Return a name as text, even if its bytes are not valid UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def _read(name: str) -> str:
    return (files("dualclip_lightning.predict.output") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the digest with which the page's policy allows its own style and script, and no other."""
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"

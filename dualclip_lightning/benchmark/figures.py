"""The pictures of a report. Colours stay apart for colour-blind readers and line styles do in grey print."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dualclip_lightning.benchmark.ablations import Ablation
from dualclip_lightning.benchmark.curves import PANELS, Lines, Panel
from dualclip_lightning.benchmark.gallery import Example
from dualclip_lightning.benchmark.summary import Summary, title
from dualclip_lightning.metrics.functional import Floats
from dualclip_lightning.metrics.plots import SHOWN

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LOOKS: list[dict[str, Any]] = [
    {"linestyle": style, "color": colour} for style in ("-", "--", ":", "-.") for colour in COLOURS
]
MAP_COLOURS = "viridis"
"""Perceptually uniform, and readable without colour vision."""
TITLE_WIDTH = 18
"""Characters above a map."""
TEXT: dict[Any, Any] = {"font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "dualclip"}


def draw_curves(lines: Lines) -> str:
    """Image curves above, pixel curves below, a line a method, as a data address of an SVG."""
    with mpl.rc_context(TEXT):
        rows = 1 + any(panel.level == "pixel" for _, panel in lines)
        figure = Figure(figsize=(9.6, 3.1 * rows), layout="constrained")
        axes = figure.subplots(rows, 3, squeeze=False)
        looks = dict(zip(dict.fromkeys(method for method, _ in lines), cycle(LOOKS), strict=False))
        places = dict(zip(PANELS, (*axes[0, :2], *axes[-1]), strict=True))
        for panel in dict.fromkeys(panel for _, panel in lines):
            own = {method: ordinates for (method, other), ordinates in lines.items() if other == panel}
            _draw_panel(places[panel], panel, own, looks)
        for axis in axes.flat:
            axis.set_visible(bool(axis.lines) or axis is axes[0, 2])
        axes[0, 2].set_axis_off()
        handles = [Line2D([], [], **look) for look in looks.values()]
        axes[0, 2].legend(handles, list(looks), loc="center", frameon=False, title="method")
        return _address(figure, "svg")


def _draw_panel(axis: Any, panel: Panel, lines: Mapping[str, Floats], looks: Mapping[str, Any]) -> None:
    for method, ordinates in lines.items():
        axis.plot(panel.grid, ordinates, linewidth=1.4, **looks[method])
    _, abscissa, ordinate = SHOWN[panel.name]
    axis.set(title=panel.title, xlabel=abscissa, ylabel=ordinate, xlim=(0, panel.limit), ylim=(0, 1.01))
    axis.grid(alpha=0.3)


def draw_ablation(ablation: Ablation, summary: Summary) -> str:
    """A panel a metric: mean over categories against the parameter, one standard deviation over seeds as a band."""
    with mpl.rc_context(TEXT):
        methods, x = list(ablation.points), np.array(list(ablation.points.values()))
        metrics = [metric for metric in summary.mean if summary.mean.loc[methods, metric].notna().any()]
        figure = Figure(figsize=(9.6, 2.2 * -(-len(metrics) // 4) + 0.2), layout="constrained")
        axes = figure.subplots(-(-len(metrics) // 4), min(4, len(metrics)), squeeze=False).ravel()
        for metric, axis in zip(metrics, axes, strict=False):
            y, spread = summary.mean.loc[methods, metric].to_numpy(), summary.spread.loc[methods, metric].to_numpy()
            axis.plot(x, y, marker="o", markersize=4, color=COLOURS[0])
            axis.fill_between(x, y - spread, y + spread, alpha=0.25, color=COLOURS[0], linewidth=0)
            axis.set(title=f"{title(metric)} (%)", xlabel=ablation.parameter.rpartition(".")[-1])
            axis.xaxis.set_major_locator(MaxNLocator(integer=bool((x == x.round()).all()), nbins=6))
            axis.grid(alpha=0.3)
            gaps = (summary.found.loc[methods, metric] < summary.planned.loc[methods, metric]).to_numpy()
            axis.plot(x[gaps], y[gaps], "o", markersize=4, color="white", markeredgecolor=COLOURS[0])
        for axis in axes[len(metrics) :]:
            axis.set_axis_off()
        return _address(figure, "svg")


def draw_gallery(examples: Sequence[Example], methods: Sequence[str]) -> str:
    """A row an image: the image, its mask, the map of every method on one scale from 0 to 1, with a colour bar."""
    with mpl.rc_context(TEXT | {"font.size": 8}):
        width, height = 1.45 * (2 + len(methods)), 1.6 * len(examples)
        lines = max(fill(method, TITLE_WIDTH).count("\n") for method in methods)
        top = 0.3 + 0.15 * lines
        figure = Figure(figsize=(width + 1.1, height + top))
        # Set by hand: a layout engine takes longer than everything else together.
        figure.subplots_adjust(0.25 / (width + 1.1), 0.2 / (height + top), width / (width + 1.1),
                               height / (height + top), wspace=0.06, hspace=0.22)  # fmt: skip
        axes = figure.subplots(len(examples), 2 + len(methods), squeeze=False)
        for row, example in zip(axes, examples, strict=True):
            shown = _draw_example(row, example, methods)
        for axis, title in zip(axes[0], ("image", "mask", *methods), strict=True):
            axis.set_title(fill(title, TITLE_WIDTH))
        high = max(float(example.maps[method].max()) for example in examples for method in methods)
        place = figure.add_axes(((width + 0.2) / (width + 1.1), 0.2, 0.18 / (width + 1.1), 0.6))
        bar = figure.colorbar(shown, cax=place, extend="max" if high > 1 else "neither")
        bar.set_label("anomaly score of the map")
        return _address(figure, "webp", dpi=100, pil_kwargs={"quality": 85})


def _draw_example(row: Any, example: Example, methods: Sequence[str]) -> Any:
    if example.image is None:
        row[0].text(0.5, 0.5, "file is\nnot there", ha="center", va="center", transform=row[0].transAxes)
    else:
        row[0].imshow(example.image)
    row[1].imshow(example.mask, cmap="gray", vmin=0, vmax=1)
    row[0].set(ylabel=example.what, xlabel="/".join(Path(example.path).parts[-2:]))
    for axis, method in zip(row[2:], methods, strict=True):
        shown = axis.imshow(example.maps[method], cmap=MAP_COLOURS, vmin=0, vmax=1)
        axis.set_xlabel(f"image score {example.scores[method]:.3f}", labelpad=2)
    for axis in row:
        axis.set(xticks=[], yticks=[])
    return shown


def _address(figure: Figure, kind: str, **settings: Any) -> str:
    """The picture as a data address, the same bytes for the same picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None, **settings)
    media = {"svg": "image/svg+xml"}.get(kind, f"image/{kind}")
    return f"data:{media};base64,{base64.b64encode(buffer.getvalue()).decode()}"

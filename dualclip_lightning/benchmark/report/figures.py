"""Figures of a report, with colours that colour-blind readers can tell apart and line styles for greyscale print."""

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

from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.report.ablations import Ablation
from dualclip_lightning.benchmark.report.curves import PANELS, Lines, Panel
from dualclip_lightning.benchmark.report.gallery import GalleryExample
from dualclip_lightning.benchmark.report.summary import DatasetSummary
from dualclip_lightning.images.painting import MIDDLE_GREY, mappable, overlay, to_grey
from dualclip_lightning.metrics.functional import Floats
from dualclip_lightning.metrics.plots import SHOWN

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LOOKS: list[dict[str, Any]] = [
    {"linestyle": style, "color": colour} for style in ("-", "--", ":", "-.") for colour in COLOURS
]
TITLE_WIDTH = 18
"""Width of the title above a map, in characters."""
SCALE_HEIGHT = 0.42
"""Height of the scales below the maps, in inches."""
TEXT: dict[Any, Any] = {"font.size": 9, "svg.fonttype": "path", "svg.hashsalt": "dualclip"}


def plot_curves(lines: Lines) -> str:
    """Plot image curves above pixel curves, one line per method, and return the SVG as a data URL."""
    with mpl.rc_context(TEXT):
        rows = 1 + any(panel.level == "pixel" for _, panel in lines)
        figure, axes = _grid(rows, 3, 3.1)
        looks = dict(zip(dict.fromkeys(method for method, _ in lines), cycle(LOOKS), strict=False))
        places = dict(zip(PANELS, (*axes[0, :2], *axes[-1]), strict=True))
        for panel in dict.fromkeys(panel for _, panel in lines):
            own = {method: ordinates for (method, other), ordinates in lines.items() if other == panel}
            _plot_panel(places[panel], panel, own, looks)
        for axis in axes.flat:
            axis.set_visible(bool(axis.lines) or axis is axes[0, 2])
        axes[0, 2].set_axis_off()
        handles = [Line2D([], [], **look) for look in looks.values()]
        axes[0, 2].legend(handles, list(looks), loc="center", frameon=False, title="method")
        return address(encoded(figure, "svg"), "svg")


def _grid(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """Return a figure of `rows` times this height in inches, and its axes with room for titles and labels.

    The margins are set by hand, because a layout engine draws the whole figure several times.
    """
    figure = Figure(figsize=(9.6, height * rows))
    figure.subplots_adjust(left=0.62 / 9.6, right=1 - 0.15 / 9.6, bottom=0.5 / (height * rows),
                           top=1 - 0.35 / (height * rows), wspace=0.26, hspace=0.95 / (height - 0.95))  # fmt: skip
    return figure, figure.subplots(rows, columns, squeeze=False)


def _plot_panel(axis: Any, panel: Panel, lines: Mapping[str, Floats], looks: Mapping[str, Any]) -> None:
    for method, ordinates in lines.items():
        axis.plot(panel.grid, ordinates, linewidth=1.4, **looks[method])
    _, abscissa, ordinate = SHOWN[panel.name]
    axis.set(title=panel.title, xlabel=abscissa, ylabel=ordinate, xlim=(0, panel.limit), ylim=(0, 1.01))
    axis.grid(alpha=0.3)


def plot_ablation(ablation: Ablation, summary: DatasetSummary) -> str:
    """Plot the mean over categories against the parameter, with one panel per metric.

    The band is one standard deviation over seeds.
    """
    with mpl.rc_context(TEXT):
        methods, x = list(ablation.points), np.array(list(ablation.points.values()))
        metrics = [metric for metric in summary.mean if summary.mean.loc[methods, metric].notna().any()]
        figure, axes = _grid(-(-len(metrics) // 4), min(4, len(metrics)), 2.3)
        for metric, axis in zip(metrics, axes.flat, strict=False):
            y, spread = summary.mean.loc[methods, metric].to_numpy(), summary.spread.loc[methods, metric].to_numpy()
            axis.plot(x, y, marker="o", markersize=4, color=COLOURS[0])
            axis.fill_between(x, y - spread, y + spread, alpha=0.25, color=COLOURS[0], linewidth=0)
            axis.set(title=f"{title(metric)} (%)", xlabel=ablation.parameter.rpartition(".")[-1])
            axis.xaxis.set_major_locator(MaxNLocator(integer=bool((x == x.round()).all()), nbins=6))
            axis.grid(alpha=0.3)
            gaps = (summary.found.loc[methods, metric] < summary.planned.loc[methods, metric]).to_numpy()
            axis.plot(x[gaps], y[gaps], "o", markersize=4, color="white", markeredgecolor=COLOURS[0])
        for axis in axes.flat[len(metrics) :]:
            axis.set_axis_off()
        return address(encoded(figure, "svg"), "svg")


def scales(examples: Sequence[GalleryExample], methods: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest value of each method's maps among the examples.

    Maps of different methods are on different scales: some are probabilities near 0.5, some distances.
    """
    values = {method: [example.maps[method] for example in examples] for method in methods}
    return {method: (float(np.min(maps)), float(np.max(maps))) for method, maps in values.items()}


def plot_gallery(examples: Sequence[GalleryExample], methods: Sequence[str]) -> str:
    """Plot one row per image: the image, its mask, and the map of every method.

    Each method has one scale, which is drawn below its maps.
    """
    with mpl.rc_context(TEXT | {"font.size": 8}):
        width, height = 1.45 * (2 + len(methods)), 1.6 * len(examples)
        lines = max(fill(method, TITLE_WIDTH).count("\n") for method in methods)
        top = 0.3 + 0.15 * lines
        whole = height + top + SCALE_HEIGHT
        figure = Figure(figsize=(width + 0.3, whole))
        # By hand, as in `_grid`.
        figure.subplots_adjust(0.25 / (width + 0.3), (SCALE_HEIGHT + 0.2) / whole, 1 - 0.05 / (width + 0.3),
                               1 - top / whole, wspace=0.06, hspace=0.22)  # fmt: skip
        axes = figure.subplots(len(examples), 2 + len(methods), squeeze=False)
        limits = scales(examples, methods)
        for row, example in zip(axes, examples, strict=True):
            shown = _plot_example(row, example, limits)
        for axis, title in zip(axes[0], ("image", "mask", *methods), strict=True):
            axis.set_title(fill(title, TITLE_WIDTH))
        for axis, mappable, ends in zip(axes[-1, 2:], shown, limits.values(), strict=True):
            _plot_scale(figure, axis, mappable, ends)
        return address(encoded(figure, "webp", dpi=100, pil_kwargs={"quality": 85}), "webp")


def _plot_example(row: Any, example: GalleryExample, limits: Mapping[str, tuple[float, float]]) -> list[Any]:
    if example.image is None:
        row[0].text(0.5, 0.5, "file is\nnot there", ha="center", va="center", transform=row[0].transAxes)
    else:
        row[0].imshow(example.image)
    row[1].imshow(example.mask, cmap="gray", vmin=0, vmax=1)
    row[0].set(ylabel=example.what, xlabel="/".join(Path(example.path).parts[-2:]))
    shown = []
    for axis, (method, (low, high)) in zip(row[2:], limits.items(), strict=True):
        score_map = example.maps[method]
        ground = MIDDLE_GREY if example.image is None else to_grey(np.asarray(example.image), score_map.shape)
        axis.imshow(overlay(ground, score_map, (low, high)))
        shown.append(mappable((low, high)))
        axis.set_xlabel(f"image score {example.scores[method]:.3f}", labelpad=2)
    for axis in row:
        axis.set(xticks=[], yticks=[])
    return shown


def _plot_scale(figure: Figure, column: Any, shown: Any, ends: tuple[float, float]) -> None:
    """Draw the colour scale of one method below its column, with the values at both ends."""
    place = column.get_position()
    height = figure.get_size_inches()[1]
    axis = figure.add_axes((place.x0 + 0.1 * place.width, 0.24 / height, 0.8 * place.width, 0.09 / height))
    figure.colorbar(shown, cax=axis, orientation="horizontal")
    axis.set_xticks([])
    for end, x, side in zip(ends, (0, 1), ("left", "right"), strict=True):  # inwards, away from the next scale
        axis.text(x, -0.5, f"{end:.3g}", transform=axis.transAxes, ha=side, va="top")


def encoded(figure: Figure, kind: str, **settings: Any) -> bytes:
    """Return the content of an image file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None, **settings)
    return buffer.getvalue()


def address(content: bytes, kind: str) -> str:
    """Return the content of an image file as a data URL."""
    media = {"svg": "image/svg+xml"}.get(kind, f"image/{kind}")
    return f"data:{media};base64,{base64.b64encode(content).decode()}"

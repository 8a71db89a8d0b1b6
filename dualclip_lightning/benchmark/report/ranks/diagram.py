"""The critical-difference diagram (Demšar, 2006, section 3.2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.report.figures import TEXT, encoded
from dualclip_lightning.benchmark.report.ranks.blocks import UNITS
from dualclip_lightning.benchmark.report.ranks.methods import MethodRanks
from dualclip_lightning.benchmark.report.ranks.significance import indistinguishable

LINE, BAR, TOP = 0.24, 0.13, 0.62
"""Heights in inches: of a label, of a bar, and of the scale with the critical difference above it."""
WIDTH, SHORTEST = 8.4, 3.5
"""Usual width of the diagram and smallest width of the scale, in inches."""
LETTER = 0.075
"""Upper estimate of the mean width of a character, in inches."""
MOST_NUMBERS = 20
"""Maximum number of numbers on the scale."""
INK, BARS, RED = "#1a1a1a", "#0072B2", "#D55E00"


class _Label(NamedTuple):
    text: str
    rank: float
    height: float
    """Inches below the scale."""
    left: bool


def draw_differences(found: MethodRanks) -> bytes:
    """Draw the mean ranks on a scale, the best on the left, and return the SVG, whose texts are paths.

    A bar joins methods whose mean ranks differ by less than the critical difference, which is drawn above the scale.
    """
    with mpl.rc_context(TEXT):
        ranks = found.ranks
        bars = _levels(indistinguishable(list(ranks), found.critical_difference))
        below = 0.12 + BAR * (1 + max((level for *_, level in bars), default=-1))
        labels = list(_labels([str(name) for name in ranks.index], list(ranks), below))
        height = TOP + max(label.height for label in labels) + 0.22
        left, right = (
            0.3 + LETTER * max([9, *(len(label.text) for label in labels if label.left is side)])
            for side in (True, False)
        )
        width = max(WIDTH, left + SHORTEST + right)
        figure = Figure(figsize=(width, height))
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, width), ylim=(TOP - height, TOP))  # inches; 0 is the scale
        axis.set_axis_off()
        place = _Scale(len(ranks), left, width - right)
        _draw_scale(axis, place, found)
        for label in labels:
            _draw_label(axis, place, label)
        for first, last, level in bars:
            ends = place(ranks.iloc[first]) - 0.04, place(ranks.iloc[last]) + 0.04
            axis.plot(ends, [-0.14 - BAR * level] * 2, color=BARS, linewidth=4, solid_capstyle="butt", zorder=3)
        return encoded(figure, "svg")


def describe(found: MethodRanks) -> str:
    """Return what the diagram shows, in words."""
    ranks = ", ".join(f"{method} {rank:.2f}" for method, rank in found.ranks.items())
    names = list(found.ranks.index)
    groups = indistinguishable(list(found.ranks), found.critical_difference)
    joined = "; ".join(", ".join(names[first : last + 1]) for first, last in groups) or "none"
    return f"Mean ranks: {ranks}. Critical difference {found.critical_difference:.2f}. Joined by a bar: {joined}."


def caption(found: MethodRanks) -> str:
    """Return the caption of the diagram."""
    blocks = found.blocks
    return (
        f"{title(blocks.metric)}: mean ranks over {len(blocks.figures)} {UNITS[blocks.unit]}, 1 is the best. A bar "
        "joins methods whose mean ranks differ by less than Nemenyi's critical difference (CD) at the 5 % level."
    )


class _Scale(NamedTuple):
    """The scale from rank 1 to the number of methods, between two abscissas in inches."""

    methods: int
    left: float
    right: float

    def __call__(self, rank: float) -> float:
        """Return the abscissa of a rank."""
        return self.left + (rank - 1) / (self.methods - 1) * (self.right - self.left)


def _levels(groups: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return the groups with the level of their bars, so that bars on one level share no method."""
    placed: list[tuple[int, int, int]] = []
    for first, last in groups:
        taken = {level for _, end, level in placed if end >= first}
        placed.append((first, last, min(set(range(len(placed) + 1)) - taken)))
    return placed


def _labels(names: Sequence[str], ranks: Sequence[float], below: float) -> Iterator[_Label]:
    """Yield the labels: the better half on the left, outermost highest, so that no two lines cross."""
    half = -(-len(names) // 2)
    for number, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        left = number < half
        line = number if left else len(names) - 1 - number
        yield _Label(f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}", rank, below + LINE * (line + 0.5), left)


def _draw_scale(axis: Any, place: _Scale, found: MethodRanks) -> None:
    axis.plot([place.left, place.right], [0, 0], color=INK, linewidth=1)
    for rank in range(1, place.methods + 1):
        axis.plot([place(rank)] * 2, [0, 0.07], color=INK, linewidth=1)
    for rank in range(1, place.methods + 1, -(-place.methods // MOST_NUMBERS)):
        axis.text(place(rank), 0.1, str(rank), ha="center", va="bottom", color=INK)
    end = place.left + found.critical_difference / (place.methods - 1) * (place.right - place.left)
    axis.plot([place.left, end], [TOP - 0.22] * 2, color=RED, linewidth=1.5)
    for x in (place.left, end):
        axis.plot([x, x], [TOP - 0.27, TOP - 0.17], color=RED, linewidth=1.5)
    axis.text(end + 0.08, TOP - 0.22, f"CD = {found.critical_difference:.2f}", va="center", color=INK)


def _draw_label(axis: Any, place: _Scale, label: _Label) -> None:
    x, y = place(label.rank), -label.height
    edge = place.left - 0.15 if label.left else place.right + 0.15
    axis.plot([x, x, edge], [0, y, y], color=INK, linewidth=0.8)
    side = ("right", edge - 0.05) if label.left else ("left", edge + 0.05)
    axis.text(side[1], y, label.text, ha=side[0], va="center", color=INK)

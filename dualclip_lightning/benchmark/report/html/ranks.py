"""The section of the report that ranks the methods over all categories of the run."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from dualclip_lightning.benchmark.report.figures import address
from dualclip_lightning.benchmark.report.html.sections import ReportFigure
from dualclip_lightning.benchmark.report.ranks.diagram import caption, describe, draw_differences
from dualclip_lightning.benchmark.report.ranks.methods import rank_all
from dualclip_lightning.benchmark.report.ranks.tables import rank_table, significance_table
from dualclip_lightning.benchmark.report.render import Table

DRAWN = ("image_AUROC", "pixel_PRO")
"""Metrics whose ranks are drawn; the tables have all of them."""


class RankSection(NamedTuple):
    """Ranks of the methods of a run."""

    ranks: Table
    tests: Table
    diagrams: list[ReportFigure]


def rank_section(results: pd.DataFrame) -> RankSection | None:
    """Return the ranks of the methods over categories; None for too few methods or categories."""
    rankings = rank_all(results)
    if not rankings:
        return None
    diagrams = [
        ReportFigure(address(draw_differences(found), "svg"), describe(found), caption(found))
        for found in rankings
        if found.blocks.metric in DRAWN
    ]
    return RankSection(rank_table(rankings), significance_table(rankings), diagrams)

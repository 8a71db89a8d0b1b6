"""`dualclip compare` for the methods of any number of runs: ranks, tests, pairs and critical-difference diagrams."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import pandas as pd

from dualclip_lightning.benchmark.report.ranks.diagram import draw_differences
from dualclip_lightning.benchmark.report.ranks.methods import MethodRanks, rank_methods
from dualclip_lightning.benchmark.report.ranks.tables import numbers, pair_table, rank_table, significance_table
from dualclip_lightning.benchmark.report.render import Table
from dualclip_lightning.benchmark.results import load_run

DEFAULT = ["image_AUROC"]
"""Metrics by which methods are ranked unless others are given."""


def compare_methods(options: argparse.Namespace) -> tuple[list[Table], Mapping[str, bytes]]:
    """Return the tables of a comparison, and further files by name.

    Raises:
        OSError: a run cannot be read.
        ValueError: the methods cannot be ranked.
    """
    runs = [load_run(folder) for folder in options.runs]
    metrics = list(dict.fromkeys(options.metric or DEFAULT))
    found = [rank_methods(*runs, metric=name, unit=options.blocks, bootstrap=options.bootstrap) for name in metrics]
    rankings = [ranks for ranks, _ in found]
    return [rank_table(rankings), significance_table(rankings), *(pair_table(*each) for each in found)], _files(found)


def _files(found: list[tuple[MethodRanks, pd.DataFrame]]) -> dict[str, bytes]:
    pairs = pd.concat([pairs.assign(metric=ranks.blocks.metric) for ranks, pairs in found], ignore_index=True)
    diagrams = {f"ranks_{ranks.blocks.metric}.svg": draw_differences(ranks) for ranks, _ in found}
    tables = {"ranks.csv": numbers([ranks for ranks, _ in found]), "compare.csv": pairs}
    return diagrams | {name: frame.to_csv(index=False).encode() for name, frame in tables.items()}

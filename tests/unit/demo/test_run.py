"""The demo as a benchmark: its configuration, its rows, and the printed table."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dualclip_lightning.demo.data.assets import CATEGORIES
from dualclip_lightning.demo.run import configure, to_frame
from dualclip_lightning.demo.table import SHOWN, show, summarise

VARIANTS = ("text only", "reference only", "joint")


def results(**values: list[float]) -> pd.DataFrame:
    """Results of the benchmark: one row per variant, category and seed, in which all metrics are equal."""
    rows = [
        {"category": category, "method": variant, "kind": "pair", "seed": seed, "seconds": 1.0}
        | dict.fromkeys(SHOWN, value)
        for variant in VARIANTS
        for category, own in values.items()
        for seed, value in enumerate(own)
    ]
    return pd.DataFrame(rows)


def table(**values: list[float]) -> pd.DataFrame:
    return summarise(to_frame(results(**values), list(values)))


def test_the_configuration_has_the_categories_of_the_demo_and_one_seed_of_the_text_score():
    config = configure(2, CATEGORIES)
    assert list(config.methods) == list(VARIANTS)
    assert config.seeds == [0, 1]
    assert config.methods["text only"].seeds == [0]
    assert config.datasets["Demo"].categories == list(CATEGORIES)
    assert configure(1, ["pcb"]).datasets["Demo"].categories == ["pcb"]


def test_rows_are_in_the_order_of_the_categories_and_name_the_variant():
    frame = to_frame(results(cork=[0.8, 0.9], pcb=[0.1, 0.2]), ["pcb", "cork"])
    expected = [(category, variant, seed) for category in ("pcb", "cork") for variant in VARIANTS for seed in (0, 1)]
    assert list(frame[["category", "variant", "seed"]].itertuples(index=False, name=None)) == expected
    assert list(frame.columns) == ["category", "defects", "variant", "kind", "seed", *SHOWN]


def test_the_means_are_those_of_the_materials_of_the_real_categories_and_of_all():
    found = table(cork=[0.8, 0.9], granite=[0.5, 0.6], pcb=[0.1, 0.2], spindle=[0.6, 0.7])
    assert list(found.index) == ["cork", "granite", "pcb", "spindle", "mean of materials", "mean of real", "mean"]
    expected = [0.85, 0.55, 0.15, 0.65, 0.7, 0.4, 0.55]
    assert np.allclose(found.to_numpy(), np.array(expected)[:, None])


@pytest.mark.parametrize("category", ["cork", "spindle"])
def test_a_mean_equal_to_the_mean_of_all_is_left_out(category):
    assert list(table(**{category: [0.5]}).index) == [category, "mean"]


def test_files_and_table_state_which_defects_are_real():
    found = results(cork=[0.5], spindle=[0.5])
    frame = to_frame(found, ["cork", "spindle"])
    assert frame.groupby("category")["defects"].unique().map(list).to_dict() == {"cork": ["drawn"], "spindle": ["real"]}
    console = Console(file=io.StringIO(), width=200)
    show(summarise(frame), console)
    printed = console.file.getvalue()
    assert "spindle (real)" in printed
    assert "cork (real" not in printed
    assert "(real): photographs of real defects" in printed

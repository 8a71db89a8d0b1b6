from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from dualclip_lightning.demo.evaluate import DemoRun
from dualclip_lightning.demo.run import SHOWN, VARIANTS, show, summarise, to_frame


def runs(**values: list[float]) -> list[DemoRun]:
    """One run a variant and seed of each category, every metric of which has the value of that seed."""
    return [
        DemoRun("pair", category, variant, seed, dict.fromkeys(SHOWN, value), {}, {})
        for category, own in values.items()
        for variant in VARIANTS
        for seed, value in enumerate(own)
    ]


def test_the_means_are_those_of_the_materials_of_the_real_categories_and_of_all():
    table = summarise(runs(cork=[0.8, 0.9], granite=[0.5, 0.6], pcb=[0.1, 0.2], spindle=[0.6, 0.7]))
    assert list(table.index) == ["cork", "granite", "pcb", "spindle", "mean of materials", "mean of real", "mean"]
    expected = [0.85, 0.55, 0.15, 0.65, 0.7, 0.4, 0.55]
    assert np.allclose(table.to_numpy(), np.array(expected)[:, None])


@pytest.mark.parametrize("category", ["cork", "spindle"])
def test_a_mean_that_would_be_the_mean_of_all_is_left_out(category):
    assert list(summarise(runs(**{category: [0.5]})).index) == [category, "mean"]


def test_files_and_table_say_which_defects_are_real():
    found = runs(cork=[0.5], spindle=[0.5])
    frame = to_frame(found)
    assert frame.groupby("category")["defects"].unique().map(list).to_dict() == {"cork": ["drawn"], "spindle": ["real"]}
    console = Console(file=io.StringIO(), width=200)
    show(summarise(found), console)
    printed = console.file.getvalue()
    assert "spindle (real)" in printed
    assert "cork (real" not in printed
    assert "(real): photographs of real defects" in printed

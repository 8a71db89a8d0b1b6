"""Blocks of a comparison, checked against figures computed by hand, and the cells that are left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from dualclip_lightning.benchmark.report.ranks.blocks import block_names, find_blocks, join
from tests.benchmark_runs import cell, failed, frame


def test_seeds_are_averaged_before_categories():
    cells = frame(
        cell("m", "x", 0, 0.1), cell("m", "x", 1, 0.3), cell("m", "y", 0, 0.8), cell("n", "x", 0, 0.4),
        cell("n", "y", 0, 0.6), cell("m", "z", 0, 0.7, "Other"), cell("n", "z", 0, 0.9, "Other"),
    )  # fmt: skip
    by_category = find_blocks(cells, "image_AUROC", "category")
    assert block_names(by_category.figures) == ["Demo/x", "Demo/y", "Other/z"]
    assert by_category.figures.to_numpy().tolist() == [[20, 40], [80, 60], [70, 90]]
    by_dataset = find_blocks(cells, "image_AUROC", "dataset")
    assert block_names(by_dataset.figures) == ["Demo", "Other"]
    assert by_dataset.figures.to_numpy().tolist() == [[50, 50], [70, 90]]
    assert list(by_dataset.figures) == ["m", "n"]
    assert by_category.notes == by_dataset.notes == ()


@pytest.mark.parametrize("unit", ["category", "dataset"])
def test_an_incomplete_block_is_left_out_and_named(unit):
    cells = frame(
        cell("m", "x"), cell("n", "x"), cell("m", "y", 0, dataset="Other"),
        failed(method="n", category="y", seed=0, dataset="Other"), cell("n", "y", 1, dataset="Other"),
    )  # fmt: skip
    found = find_blocks(cells, "pixel_PRO", unit)
    assert len(found.figures) == 1
    name = "Other/y" if unit == "category" else "Other"
    assert found.notes == (f"{name} is left out, because n did not finish all of it.",)


def test_a_category_that_was_not_planned_for_all_methods_is_left_out():
    found = find_blocks(frame(cell("m", "x"), cell("m", "y"), cell("n", "x")), "image_AP", "category")
    assert block_names(found.figures) == ["Demo/x"]
    assert found.notes == ("Demo/y is left out, because n did not finish all of it.",)


def test_a_category_without_the_metric_is_left_out_of_its_data_set():
    cells = [cell(m, c, metrics={"image_AUROC": 0.5, **pro}) for m in "mn" for c, pro in
             (("x", {"pixel_PRO": 0.4}), ("y", {}))]  # fmt: skip
    found = find_blocks(frame(*cells), "pixel_PRO", "dataset")
    assert found.figures.to_numpy().tolist() == [[40, 40]]
    assert found.notes == ("Demo/y has no PRO of any method.",)


def test_methods_without_maps_and_with_other_masks_are_left_out_and_named():
    cells = frame(cell("m"), cell("n"), cell("full", masks="full"), cell("image", metrics={"image_AUROC": 0.9}))
    found = find_blocks(cells, "pixel_AP", "category")
    assert list(found.figures) == ["m", "n"]
    assert found.notes == (
        "full: other masks than most, so its pixel AP is not ranked.", "image has no pixel AP and is not ranked.",
    )  # fmt: skip
    assert list(find_blocks(cells, "image_AUROC", "category").figures) == ["m", "n", "full", "image"]


def test_figures_that_differ_by_rounding_are_equal():
    found = find_blocks(frame(cell("m", metrics=0.1 + 0.2), cell("n", metrics=0.3)), "image_AP", "category")
    assert found.figures.nunique(axis=1).tolist() == [1]


def test_differing_images_are_reported():
    cells = frame(cell("m", "x"), cell("n", "x"), cell("m", "y"), cell("n", "y", images_sha256="ef" * 32))
    found = find_blocks(cells, "image_AP", "category")
    assert found.notes == ("The methods were not all tested on the same images of Demo/y.",)


def run(name, *cells):
    return SimpleNamespace(folder=Path(name), frame=frame(*cells), images=pd.DataFrame())


def test_a_method_of_several_runs_is_one_if_they_tested_different_categories():
    cells, notes = join([run("a", cell("m", "x")), run("b", cell("m", "y"), cell("n", "y"))])
    assert cells["method"].tolist() == ["m", "m", "n"]
    assert not notes


def test_methods_of_the_same_name_on_one_category_are_distinguished():
    cells, notes = join([run("one/a", cell("m"), cell("n")), run("two/a", cell("m"), cell("o")), run("b", cell("m"))])
    parent = Path.cwd().name
    assert cells["method"].tolist() == ["m (one/a)", "n", "m (two/a)", "o", f"m ({parent}/b)"]
    assert notes == ["m: several runs tested one category, so each counts as a method."]
    near, _ = join([run("one/a", cell("m")), run("one/b", cell("m"))])
    assert near["method"].tolist() == ["m (a)", "m (b)"]


def test_a_method_that_differs_between_its_runs_is_reported():
    _, notes = join([run("a", cell("m", "x")), run("b", cell("m", "y", backbone="ViT-L-14"))])
    assert notes == ["m: its runs differ in backbone."]

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from dualclip_lightning.benchmark.results import (
    COLUMNS,
    IMAGE_COLUMNS,
    CellResult,
    Maps,
    assemble,
    cell_path,
    is_finished,
    load_run,
    write_cell,
)
from tests.benchmark_runs import cell, failed


def result(row, with_maps=False, root=None):
    images = pd.DataFrame({"image_path": ["a.png", "b,c.png"], "label": [0, 1], "score": [0.25, 0.75]})
    maps = Maps(["a.png", "b,c.png"], np.full((2, 3, 4), 0.5, np.float16), np.ones((2, 3, 4), bool))
    return CellResult(row | {"data_root": root}, images, maps if with_maps else None)


def test_a_run_loads_the_cells_as_they_were_written(tmp_path):
    rows = [cell(category="01", seed=1), cell(category="null", seed=2, metrics={"image_AUROC": 0.5})]
    for row in rows:
        write_cell(tmp_path, result(row, with_maps=row["seed"] == 1))
    assemble(tmp_path, [row["key"] for row in rows])
    run = load_run(tmp_path)
    assert list(run.frame) == list(COLUMNS)
    assert list(run.images) == list(IMAGE_COLUMNS)
    assert run.frame["category"].tolist() == ["01", "null"]  # not read as a number or as missing
    assert run.frame["seed"].tolist() == [1, 2]
    assert run.frame["image_AP"].isna().tolist() == [False, True]
    assert json.loads(run.frame["parameters"][0]) == json.loads(rows[0]["parameters"])
    assert run.images["image_path"].tolist() == ["a.png", "b,c.png"] * 2
    assert run.images["key"].tolist() == [row["key"] for row in rows for _ in range(2)]
    kept = run.maps(rows[0]["key"])
    assert kept["maps"].shape == kept["masks"].shape == (2, 3, 4)
    assert kept["maps"].dtype == np.float16
    assert kept["masks"].all()
    assert run.maps(rows[1]["key"]) is None


def test_paths_are_relative_in_the_files_and_whole_in_a_run(tmp_path):
    row = cell()
    write_cell(tmp_path, result(row, with_maps=True, root=str(tmp_path / "data")))
    assemble(tmp_path, [row["key"]])
    assert str(tmp_path) not in (tmp_path / "images.csv").read_text()
    run = load_run(tmp_path)
    whole = [str(tmp_path / "data" / name) for name in ("a.png", "b,c.png")]
    assert run.images["image_path"].tolist() == run.maps(row["key"])["image_path"].tolist() == whole


def test_results_hold_the_planned_cells_in_the_order_of_the_plan_and_no_others(tmp_path):
    rows = [cell(seed=seed) for seed in range(3)] + [failed(seed=7)]
    for row in rows:
        write_cell(tmp_path, result(row) if row["status"] == "done" else CellResult(row))
    wanted = [rows[3], rows[2], rows[0]]
    frame = assemble(tmp_path, [*(row["key"] for row in wanted), "not-there"])
    assert frame["seed"].tolist() == [7, 2, 0]
    assert frame["status"].tolist() == ["failed", "done", "done"]
    assert load_run(tmp_path).images["seed"].tolist() == [2, 2, 0, 0]


def test_a_cell_is_finished_when_it_has_figures_and_the_maps_asked_for(tmp_path):
    done, broken = cell(), failed(seed=1)
    assert not is_finished(tmp_path, done["key"])
    write_cell(tmp_path, result(done))
    write_cell(tmp_path, CellResult(broken))
    assert is_finished(tmp_path, done["key"])
    assert not is_finished(tmp_path, done["key"], with_maps=True)
    assert not is_finished(tmp_path, broken["key"])
    write_cell(tmp_path, result(done, with_maps=True))
    assert is_finished(tmp_path, done["key"], with_maps=True)


def test_the_row_of_a_cell_is_written_last(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(
        "dualclip_lightning.benchmark.results.write_bytes_atomically", lambda path, _: order.append(path)
    )
    row = cell()
    write_cell(tmp_path, result(row, with_maps=True))
    assert order[-1] == cell_path(tmp_path, row["key"])
    assert len(order) == 3


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results\.csv"):
        load_run(tmp_path)


@pytest.mark.parametrize("content", ["", '{"key": "a"', "[]", "{}"])
def test_a_damaged_cell_counts_as_not_run_and_is_named_when_it_is_needed(content, tmp_path):
    row = cell()
    write_cell(tmp_path, result(row))
    assemble(tmp_path, [row["key"]])
    path = cell_path(tmp_path, row["key"])
    path.write_text(content)
    assert not is_finished(tmp_path, row["key"])
    with pytest.raises(ValueError, match=f"{path.name}. is damaged"):
        load_run(tmp_path)
    assert assemble(tmp_path, [row["key"]]).empty


def test_a_damaged_configuration_of_a_run_is_named(tmp_path):
    assemble(tmp_path, [])
    (tmp_path / "config.yaml").write_text("methods: {")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        load_run(tmp_path)


def test_a_line_of_the_results_is_a_cell(tmp_path):
    row = cell() | {"transform": "Compose(\n    Resize(\n        size=[240, 240])\n)"}
    write_cell(tmp_path, result(row))
    assemble(tmp_path, [row["key"]])
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 2
    assert load_run(tmp_path).frame["transform"][0] == "Compose( Resize( size=[240, 240]) )"

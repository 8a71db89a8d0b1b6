"""Parquet files of a run against its CSV files, read by pyarrow itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from dualclip_lightning.benchmark import ConfigError, parse_config
from dualclip_lightning.benchmark.names import METRICS
from dualclip_lightning.benchmark.parquet import remove_parquet, write_parquet
from dualclip_lightning.benchmark.results import TEXTS
from tests.benchmark_runs import cell, failed, random_cells, write_run


@pytest.fixture
def folder(tmp_path):
    further = {"pixel_PRO@0.05": 0.25, "image_AUROC_low": 0.125, "image_AUROC_high": 0.75}
    cells = [
        *random_cells(["m"], ["01", "null"], [0, 3], **further),
        cell("n", "02", metrics={"image_AUROC": 0.5}),
        failed(method="n", category="null"),
    ]
    write_run(tmp_path, cells)
    write_parquet(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["results", "images"])
def test_every_value_is_that_of_the_csv(folder, name):
    stored = parquet.read_table(folder / f"{name}.parquet").to_pylist()
    written = pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)
    assert list(stored[0]) == list(written)
    assert len(stored) == len(written)
    for row, (_, texts) in zip(stored, written.iterrows(), strict=True):
        for column, text in texts.items():
            value = row[column]
            if text == "":
                assert value is None or np.isnan(value), column
            else:
                assert value == (text if column in TEXTS else float(text)), column


def test_texts_are_texts_and_numbers_numbers(folder):
    results = parquet.read_schema(folder / "results.parquet")
    floats = [*METRICS, "pixel_PRO@0.05", "image_AUROC_low", "seconds", "seconds_per_image", "peak_memory_mb"]
    assert {results.field(name).type for name in floats} == {pa.float64()}
    assert {results.field(name).type for name in ("seed", "num_images")} == {pa.int64()}
    others = [field for field in results if field.name not in {*floats, "image_AUROC_high", "seed", "num_images"}]
    assert len(others) > 15
    assert all(pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in others)
    images = parquet.read_schema(folder / "images.parquet")
    assert [images.field(name).type for name in ("seed", "label", "score")] == [pa.int64(), pa.int64(), pa.float64()]
    assert pd.read_parquet(folder / "images.parquet")["category"].unique().tolist() == ["01", "null", "02"]


def test_a_run_in_which_everything_failed_has_the_same_types(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("failed")
    write_run(other, [failed()])
    write_parquet(other)
    results, images = (parquet.read_schema(other / f"{name}.parquet") for name in ("results", "images"))
    expected = parquet.read_schema(folder / "results.parquet")
    assert all(results.field(name).type == expected.field(name).type for name in results.names)
    assert images.equals(parquet.read_schema(folder / "images.parquet"))


def test_removing_needs_no_files(folder):
    remove_parquet(folder)
    remove_parquet(folder)
    assert not list(folder.glob("*.parquet"))


def test_without_pyarrow_it_is_refused_before_anything_runs(monkeypatch):
    content = {"methods": {"CLIP": {"model": "ClipZeroShot"}}, "datasets": {"Demo": None}, "parquet": True}
    assert parse_config(content).parquet
    monkeypatch.setattr("dualclip_lightning.utilities.extras.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"^`parquet: true` needs pyarrow\. Run .*$"):
        parse_config(content)
    assert not parse_config(content | {"parquet": False}).parquet

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dualclip_lightning.measuring import metrics as benchmark
from dualclip_lightning.measuring import other_metrics


def test_every_variant_gives_the_same_figures():
    maps, masks = benchmark.maps_and_masks(4, 24)
    expected = benchmark.variants()["exact"](maps, masks)
    for name, variant in benchmark.variants().items():
        # AUPR interpolates, AP does not, and ADEval has 1000 thresholds.
        tolerance = 2e-3 if "AUPR" in name else 1e-2 if name == "ADEval" else 1e-5
        for metric, value in variant(maps, masks).items():
            assert value == pytest.approx(expected[metric], abs=tolerance), name


@pytest.mark.slow
def test_peak_memory_and_time_are_those_of_the_variant():
    def hungry(maps, masks):
        return {"auroc": float(np.ones(2**20 * len(maps)).sum())}

    maps, masks = benchmark.maps_and_masks(32, 16)
    found = benchmark.measure(hungry, maps, masks)
    assert found["auroc"] == 32 * 2**20
    assert 200 < found["MB"] < 400
    assert found["seconds"] > 0


@pytest.mark.slow
def test_the_report_names_ratios_and_the_difference_of_the_modes(capsys):
    benchmark.main(["--size", "24", "--images", "6", "--rounds", "1", "--ours"])
    printed = capsys.readouterr().out
    assert "6 maps of 24x24" in printed
    assert "times a bare sort, NumPy" in printed
    assert "anomalib" not in printed
    benchmark.main(["--size", "24", "--images", "6", "--rounds", "1", "--only", "scikit-learn AP"])
    printed = capsys.readouterr().out
    assert "scikit-learn AP" in printed
    assert "a bare sort" not in printed
    assert "scikit-learn AUROC" not in printed
    table = pd.DataFrame(
        {"seconds": [2.0, 1, 1, 4], "MB": 1.0, "auroc": [0.5, 0.6, None, None], "ap": 0.1, "f1max": 0.1, "pro": 0.1},
        index=["exact", "streaming", *benchmark.SORTS],
    )
    lines = list(benchmark.report(table))
    assert table["/ exact"].tolist() == [1, 0.5, 0.5, 2]
    assert table["/ streaming"].tolist() == [2, 1, 1, 4]
    assert lines[1:] == [
        "exact, all of it: 2.00 times a bare sort, NumPy",
        "exact, all of it: 0.50 times a bare sort, PyTorch",
        "streaming is off by at most 1.0e-01",
    ]


def test_adeval_is_measured_where_it_is_installed_and_its_differences_are_said(monkeypatch):
    pytest.importorskip("adeval")
    assert "ADEval" in benchmark.variants()
    monkeypatch.setattr(other_metrics, "find_spec", lambda _: None)
    assert "ADEval" not in benchmark.variants()
    table = pd.DataFrame(
        {"seconds": 1.0, "MB": 1.0, "auroc": [0.5, 0.5, 0.51, None, None], "ap": [0.1, 0.1, 0.3, None, None],
         "f1max": [0.1, 0.1, None, None, None], "pro": [0.1, 0.1, 0.1, None, None]},
        index=["exact", "streaming", "ADEval", *benchmark.SORTS],
    )  # fmt: skip
    said = list(benchmark.report(table))[-1]
    assert said == "ADEval, with the bounds (0.0, 1.0), differs from exact by: auroc 1.0e-02, ap 2.0e-01, pro 0.0e+00"

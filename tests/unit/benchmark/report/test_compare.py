"""Paired differences of two runs, compared with figures computed by hand and with scipy."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, wilcoxon

from dualclip_lightning.benchmark.options import compare as main
from dualclip_lightning.benchmark.report.compare import compare, provenance_differences
from dualclip_lightning.benchmark.report.differences import differences, pair, paired_difference
from dualclip_lightning.benchmark.report.render import markdown
from tests.benchmark_runs import cell, failed, frame, random_cells, write_run

CATEGORIES = list("abcdefgh")


def run(*cells, name="run"):
    return SimpleNamespace(frame=frame(*cells), folder=Path(name))


def test_the_difference_is_b_minus_a_over_seeds_then_categories():
    a = frame(cell("m", "x", 0, 0.5), cell("m", "x", 1, 0.5), cell("m", "y", 0, 0.4))
    b = frame(cell("m", "x", 0, 0.6), cell("m", "x", 1, 0.8), cell("m", "y", 0, 0.3))
    row = differences(pair(a, b)).set_index("metric").loc["pixel_PRO"]
    assert row["mean"] == pytest.approx((20 - 10) / 2)
    assert (row["a"], row["b"]) == (pytest.approx(45), pytest.approx(50))
    assert (row["better"], row["worse"], row["categories"], row["cells"]) == (1, 1, 2, 3)


def test_a_run_against_itself_differs_in_nothing():
    cells = random_cells(["m", "n"], CATEGORIES, [0, 1])
    tables, found = compare(run(*cells), run(*cells))
    assert (found["mean"] == 0).all()
    assert (found[["low", "high"]] == 0).all(axis=None)
    assert found["p_value"].isna().all()
    assert "Nothing recorded differs" in markdown(tables[-1])


def test_swapping_the_runs_reverses_the_differences():
    a, b = (frame(*random_cells(["m"], CATEGORIES, [0], seed)) for seed in (1, 2))
    there, back = differences(pair(a, b)), differences(pair(b, a))
    pd.testing.assert_series_equal(there["mean"], -back["mean"])
    pd.testing.assert_series_equal(there["p_value"], back["p_value"])


def test_the_interval_is_that_of_the_percentile_bootstrap_and_the_test_is_wilcoxons():
    change = np.random.default_rng(0).normal(0.5, 1, 12)
    found = paired_difference(change)
    assert found.p_value == wilcoxon(change).pvalue
    reference = bootstrap((change,), np.mean, method="percentile", n_resamples=9999).confidence_interval
    assert (found.low, found.high) == (pytest.approx(reference.low, abs=0.05), pytest.approx(reference.high, abs=0.05))
    assert paired_difference(change) == found


@pytest.mark.parametrize(
    ("count", "interval", "test"), [(1, False, False), (4, False, False), (5, True, False), (6, True, True)]
)
def test_few_categories_get_no_statistic_and_the_reason(count, interval, test):
    found = paired_difference(np.arange(1.0, count + 1))
    assert (not np.isnan(found.low), not np.isnan(found.p_value)) == (interval, test)
    a, b = (run(*random_cells(["m"], CATEGORIES[:count], [0], seed)) for seed in (1, 2))
    text = markdown(compare(a, b)[0][0])
    assert ("No interval for fewer than 5" in text) != interval
    assert ("No test for fewer than 6" in text) != test


def test_only_cells_that_finished_in_both_are_paired_and_the_others_are_named():
    a = run(cell("m", "x", 0, 0.5), cell("m", "y", 0, 0.1), cell("only", "x"), cell("m", "z", 0, 0.2))
    b = run(cell("m", "x", 0, 0.7), failed(method="m", category="y"), cell("m", "x", 1, 0.9))
    (table, _), found = compare(a, b)
    assert (found["cells"] == 1).all()
    assert found["mean"].to_numpy() == pytest.approx(20)
    assert "m: 2 cells finished only in A; they are left out." in table.notes
    assert "only: 1 cells finished only in A; they are left out." in table.notes
    assert "m: 1 cells finished only in B; they are left out." in table.notes


def test_runs_without_a_common_cell_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="same labels"):
        compare(run(cell("m")), run(cell("n")))


def test_a_metric_that_one_run_lacks_is_left_out():
    found = differences(pair(frame(cell("m")), frame(cell("m", metrics={"image_AUROC": 0.5}))))
    assert found["metric"].tolist() == ["image_AUROC"]


def test_what_differs_in_provenance_is_listed_leaf_by_leaf_and_once():
    versions = json.dumps({"torch": "2.6.0"})
    a = frame(cell("m"), cell("n"))
    b = frame(
        cell("m", versions=versions, parameters=json.dumps({"alpha": 0.7, "tta": False, "seed": 1})),
        cell("n", versions=versions, weights="openai", num_images=9, data_arguments=json.dumps({"root": "other"})),
    )
    assert provenance_differences(pair(a, b)) == {
        ("parameters: alpha", "0.5", "0.7"): ["m"],
        ("versions: torch", "2.5.0", "2.6.0"): ["m", "n"],
        ("weights", "laion400m_e32", "openai"): ["n"],
        ("images of cork", "8 (cdcdcdcdcdcd)", "9 (cdcdcdcdcdcd)"): ["n"],
        ("data_arguments: root", "data", "other"): ["n"],
    }
    other = frame(cell("m", images_sha256="ef" * 32))
    expected = ("images of cork", "8 (cdcdcdcdcdcd)", "8 (efefefefefef)")
    assert provenance_differences(pair(a, other)) == {expected: ["m"]}
    table = compare(run(cell("m"), cell("n")), SimpleNamespace(frame=b, folder=Path("b")))[0][-1]
    assert ["versions: torch", "2.5.0", "2.6.0", "all"] in [[entry.text for entry in row] for row in table.rows]


def test_data_sets_have_tables_of_their_own():
    cells = [cell("m"), cell("m", dataset="VisA")]
    tables, _ = compare(run(*cells), run(*cells))
    assert [table.caption for table in tables] == [
        "Demo: B against A (in %)", "VisA: B against A (in %)", "What was not the same",
    ]  # fmt: skip


def test_the_command_prints_and_writes_what_it_found(tmp_path, capsys):
    for name, value in (("a", 0.5), ("b", 0.7)):
        write_run(tmp_path / name, [cell("m", "x", metrics=value), failed(method="m", category="y")])
    out = tmp_path / "out"
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 0
    assert "+20.00" in capsys.readouterr().out
    assert "+20.00" in (out / "compare.md").read_text()
    assert r"\begin{table}" in (out / "compare.tex").read_text()
    assert pd.read_csv(out / "compare.csv")["mean"].to_numpy() == pytest.approx(20)


def test_differing_rules_for_masks_are_stated_next_to_pixel_differences(tmp_path, capsys):
    for name, rule in (("a", "nearest"), ("b", "full")):
        write_run(tmp_path / name, [cell("m", masks=rule), cell("same")])
    main([str(tmp_path / "a"), str(tmp_path / "b")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "m: nearest masks in A and full masks in B, so its pixel figures are not of one protocol." in printed
    assert "same: nearest masks" not in printed


def test_a_folder_that_cannot_be_written_is_reported_after_the_table(tmp_path, capsys):
    write_run(tmp_path / "a", [cell("m")])
    (tmp_path / "file").write_text("no folder")
    assert main([str(tmp_path / "a"), str(tmp_path / "a"), "--out", str(tmp_path / "file" / "out")]) == 3
    output = capsys.readouterr()
    assert output.err.startswith("dualclip: Cannot write")
    assert "B - A" in output.out


def test_a_table_written_to_a_file_is_as_wide_as_needed(tmp_path, capsys):
    write_run(tmp_path / "a", [cell("a method with a long name, and with more of it than fits eighty columns")])
    main([str(tmp_path / "a"), str(tmp_path / "a")])
    assert "and with more of it than fits eighty columns" in capsys.readouterr().out


def test_the_command_refuses_in_one_line_what_cannot_be_compared(tmp_path, capsys):
    write_run(tmp_path / "a", [cell("m")])
    write_run(tmp_path / "b", [cell("other")])
    assert main([str(tmp_path / "a"), str(tmp_path / "none")]) == 2
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "dualclip benchmark" in lines[0]
    assert "same labels" in lines[1]

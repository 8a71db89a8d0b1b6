"""Tables, compared with figures computed by hand."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from dualclip_lightning.benchmark.names import METRICS
from dualclip_lightning.benchmark.report.render import Table, TableCell, latex, markdown, terminal
from dualclip_lightning.benchmark.report.summary import ranks, summaries, summarise
from dualclip_lightning.benchmark.report.tables import show_tables, summary_table, write_tables
from tests.benchmark_runs import cell, failed, frame, random_cells


@pytest.fixture
def results():
    return frame(*random_cells(["text", "joint", "a_b"], ["cork", "pcb"], [0, 1, 2]))


def run_of(results, folder):
    return SimpleNamespace(frame=results, folder=folder)


def test_mean_and_spread_are_those_of_the_category_means_over_seeds(results):
    summary = summarise(results, "Demo")
    for method in ("text", "joint", "a_b"):
        own = results[results["method"] == method]
        by_seed = [np.mean(own[own["seed"] == seed]["pixel_PRO"]) for seed in (0, 1, 2)]
        assert summary.mean.loc[method, "pixel_PRO"] == pytest.approx(100 * np.mean(by_seed))
        assert summary.spread.loc[method, "pixel_PRO"] == pytest.approx(100 * np.std(by_seed, ddof=1))


def test_there_is_a_mean_over_categories_and_one_table_per_category(results):
    parts = list(summaries(pd.concat([results, frame(cell(dataset="VisA", category="fryum"))])))
    assert [(part.dataset, part.category) for part in parts] == [
        ("Demo", None), ("Demo", "cork"), ("Demo", "pcb"), ("VisA", None),
    ]  # fmt: skip
    cork = results[(results["method"] == "text") & (results["category"] == "cork")]["image_AP"]
    assert parts[1].mean.loc["text", "image_AP"] == pytest.approx(100 * cork.mean())
    assert parts[1].spread.loc["text", "image_AP"] == pytest.approx(100 * cork.std())


def test_a_single_seed_has_no_spread():
    summary = summarise(frame(*random_cells(["text"], ["cork", "pcb"], [0])), "Demo")
    assert summary.spread.isna().all(axis=None)
    assert "±" not in markdown(summary_table(summary))


def test_best_and_second_best_are_determined_from_rounded_figures():
    mean = pd.DataFrame({"m": [90.04, 90.01, 80.0, 70.0], "n": [np.nan, 1.0, np.nan, np.nan]})
    rank = ranks(mean)
    assert rank["m"].tolist() == [1, 1, 2, 0]
    assert rank["n"].tolist() == [0, 0, 0, 0]


def test_a_failed_cell_is_marked_and_its_method_not_ranked():
    results = frame(
        cell("joint", "cork", metrics=0.9), cell("text", "cork", metrics=0.8), cell("other", "cork", metrics=0.1),
        failed(method="joint", category="pcb"), cell("text", "pcb", metrics=0.4), cell("other", "pcb", metrics=0.1),
    )  # fmt: skip
    summary = summarise(results, "Demo")
    assert summary.mean.loc["joint", "image_AUROC"] == pytest.approx(90)
    assert summary.rank["image_AUROC"].to_dict() == {"joint": 0, "text": 1, "other": 2}
    text = markdown(summary_table(summary))
    assert "| joint | pair | 1 | 90.0† |" in text
    assert "| text | pair | 1 | **60.0** |" in text
    assert "† joint: 1 of 2 cells are missing" in text


def test_a_category_that_failed_for_every_method_is_missing_from_every_mean():
    results = frame(cell("a", "cork"), cell("b", "cork"), failed(method="a", category="pcb"),
                    failed(method="b", category="pcb"))  # fmt: skip
    summary = summarise(results, "Demo")
    assert (summary.planned["image_AUROC"] == 2).all()
    assert (summary.found["image_AUROC"] == 1).all()


def test_a_seed_with_a_gap_does_not_widen_the_spread():
    results = frame(*[cell("a", c, s, 0.5) for c in ("easy", "hard") for s in (0, 1)],
                    cell("a", "easy", 2, 0.9), failed(method="a", category="hard", seed=2))  # fmt: skip
    summary = summarise(results, "Demo")
    assert summary.spread.loc["a", "image_AUROC"] == 0
    assert summary.found.loc["a", "image_AUROC"] == 5
    assert summary.planned.loc["a", "image_AUROC"] == 6


def test_a_metric_that_a_category_cannot_have_is_not_a_gap():
    image_only = {"image_AUROC": 0.9, "image_F1Max": 0.9, "image_AP": 0.9}
    results = frame(cell("a", "cork", metrics=0.5), cell("a", "nomasks", metrics=image_only))
    summary = summarise(results, "Demo")
    assert summary.planned.loc["a", ["image_AUROC", "pixel_PRO"]].tolist() == [2, 1]
    assert summary.mean.loc["a", ["image_AUROC", "pixel_PRO"]].tolist() == pytest.approx([70, 50])
    assert "†" not in markdown(summary_table(summary))
    only = summarise(results[results["category"] == "nomasks"], "Demo", "nomasks")
    assert "PRO" not in summary_table(only).columns


def test_a_method_without_a_finished_cell_is_shown_as_such():
    summary = summarise(frame(cell("a"), failed(method="b", kind=None)), "Demo")
    assert "| b | n/a | 1 | n/a |" in markdown(summary_table(summary))


def test_markdown_has_one_width_and_lines_up_with_its_header(results):
    lines = [line for line in markdown(summary_table(summarise(results, "Demo"))).splitlines() if line[:1] == "|"]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 3
    assert all(re.fullmatch(r"-+:?", rule.strip()) for rule in lines[1].strip("|").split("|"))


def test_a_bar_or_a_newline_in_a_name_does_not_break_the_markdown_table():
    text = markdown(Table("t", ["method", "x"], [[TableCell("a|b\nc"), TableCell("1", 2)]]))
    assert r"| a\|b c | *1* |" in text


def test_latex_is_the_known_table():
    table = Table("A & B", ["method", "F1_max"], [[TableCell("a_b"), TableCell("90.0 ± 0.1", 1)],
                                                   [TableCell("c"), TableCell("80.0†", 2)]],
                  ["100 %"])  # fmt: skip
    assert latex(table, "tab:x") == (
        "\\begin{table}[tb]\n\\caption{A \\& B. The best figure is bold, the second best underlined; "
        "methods of every kind are ranked together. 100 \\%}\n\\label{tab:x}\n\\begin{tabular}{lr}\n\\toprule\n"
        "method & F1\\_max \\\\\n\\midrule\na\\_b & \\textbf{90.0 $\\pm$ 0.1} \\\\\n"
        "c & \\underline{80.0$^\\dagger$} \\\\\n\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_files_hold_every_method_and_category(results, tmp_path):
    paths = write_tables(run_of(results, tmp_path))
    assert [path.name for path in paths] == ["demo.md", "demo.tex", "demo.csv"]
    numbers = pd.read_csv(tmp_path / "tables" / "demo.csv")
    assert set(numbers["category"]) == {"mean", "cork", "pcb"}
    assert set(numbers["method"]) == {"text", "joint", "a_b"}
    chosen = numbers[(numbers["category"] == "pcb") & (numbers["method"] == "joint")].iloc[0]
    own = results[(results["category"] == "pcb") & (results["method"] == "joint")]
    for metric in METRICS:
        assert chosen[metric] == pytest.approx(100 * own[metric].mean())
        assert chosen[f"{metric}_std"] == pytest.approx(100 * own[metric].std())
    for name in ("demo.md", "demo.tex"):
        assert len(re.findall(r"(cork|pcb|mean over categories) \(in ", (tmp_path / "tables" / name).read_text())) == 3
    assert len(set(re.findall(r"label{(.*?)}", (tmp_path / "tables" / "demo.tex").read_text()))) == 3


def test_failed_cells_are_listed_with_their_errors(tmp_path):
    results = frame(cell("a"), failed(method="b", category="pcb", seed=3))
    paths = write_tables(run_of(results, tmp_path))
    assert paths[-1].name == "failed.csv"
    assert "| b | Demo | pcb | 3 | RuntimeError: out of memory |" in (tmp_path / "tables" / "failed.md").read_text()


@pytest.mark.parametrize("width", [60, 80, 120, 400])
def test_a_narrow_screen_gets_several_parts_and_nothing_is_cut_off(results, width):
    table = summary_table(summarise(results.assign(method="a rather long name " + results["method"]), "Demo"))
    console = Console(file=io.StringIO(), width=width)
    console.print(*terminal(table, width))
    printed = console.file.getvalue()
    assert "…" not in printed
    assert all(len(line) <= width for line in printed.splitlines())
    assert all(row[0].text in printed for row in table.rows)
    assert printed.count("PRO") == 1
    assert (printed.count("┏") == 1) == (width == 400)
    figures = [cell.text for row in table.rows for cell in row[3:]]
    assert all(figure in printed for figure in figures)


def test_the_screen_shows_means_and_failures(results):
    console = Console(file=io.StringIO(), width=200)
    show_tables(run_of(pd.concat([results, frame(failed(method="text", category="carpet"))]), None), console)
    printed = console.file.getvalue()
    assert "Demo, mean over categories" in printed
    assert "out of memory" in printed
    assert "pair" in printed
    assert "0.25" in printed


def test_marks_are_explained_in_the_words_of_each_format(results):
    table = summary_table(summarise(results, "Demo"))
    assert "best figure is bold, the second best italic" in markdown(table)
    assert "best figure is bold, the second best underlined" in latex(table, "tab:x")
    console = Console(width=200, file=io.StringIO())
    console.print(*terminal(table, 200))
    assert "second best underlined" in " ".join(console.file.getvalue().split())
    assert "second best" not in markdown(Table("plain", ["a"], [[TableCell("1")]]))


def test_pixel_figures_of_another_rule_for_masks_are_marked_and_not_ranked():
    results = frame(cell("a", metrics=0.5), cell("b", metrics=0.6), cell("MuSc", metrics=0.9, masks="full"))
    summary = summarise(results, "Demo")
    assert summary.rank["pixel_PRO"].to_dict() == {"a": 2, "b": 1, "MuSc": 0}
    assert summary.rank["image_AUROC"].to_dict() == {"a": 0, "b": 2, "MuSc": 1}
    text = markdown(summary_table(summary))
    assert "| MuSc | pair | 1 | **90.0** | **90.0** | **90.0** | 90.0‡ | 90.0‡ | 90.0‡ | 90.0‡ |" in text
    assert "‡ MuSc: full masks, another protocol, which is not ranked." in text
    assert "Pixel figures are those of nearest masks." in text
    assert "‡" not in markdown(summary_table(summarise(results[results["method"] != "MuSc"], "Demo")))


def test_a_metric_that_only_some_runs_request_has_a_separate_column():
    results = frame(cell("a", **{"pixel_PRO@0.05": 0.25}), cell("b", **{"pixel_PRO@0.05": 0.5}))
    assert "| PRO | pixel AP | PRO to FPR 0.05 | s/image |" in markdown(summary_table(summarise(results, "Demo")))
    assert summarise(results, "Demo").rank["pixel_PRO@0.05"].tolist() == [2, 1]


def test_a_metric_that_some_finished_cells_lack_is_named_and_no_cell_is_called_missing():
    results = frame(cell("a", "x", pixel_PRO200=0.5), cell("a", "y"), cell("b", "x", pixel_PRO200=0.4),
                    cell("b", "y", pixel_PRO200=0.4))  # fmt: skip
    text = markdown(summary_table(summarise(results, "Demo")))
    assert "† a: PRO, 200 thresholds does not exist in 1 of 2 cells; its mean rests on the others" in text
    assert "missing" not in text


def test_a_method_without_a_metric_says_so_once():
    results = frame(cell("a", "x", pixel_PRO200=0.5), cell("a", "y", pixel_PRO200=0.5), cell("b", "x"), cell("b", "y"))
    text = markdown(summary_table(summarise(results, "Demo")))
    assert "- b has no PRO, 200 thresholds." in text
    assert "rests on the others" not in text


def test_a_method_without_any_result_has_no_mean():
    text = markdown(summary_table(summarise(frame(cell("text"), failed(method="joint")), "Demo")))
    assert "joint: none of 1 cells has a result" in text
    assert "rests on the others" not in text

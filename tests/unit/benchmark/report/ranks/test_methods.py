"""Ranks, pairs and intervals of methods, compared with independent computations, and the command."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon
from sklearn.metrics import roc_auc_score

from dualclip_lightning.benchmark import rank_methods, write_report, write_tables
from dualclip_lightning.benchmark.names import METRICS
from dualclip_lightning.benchmark.options import compare as main
from dualclip_lightning.benchmark.report import figures
from dualclip_lightning.benchmark.report.ranks.blocks import find_blocks, join
from dualclip_lightning.benchmark.report.ranks.diagram import describe, draw_differences
from dualclip_lightning.benchmark.report.ranks.methods import compare_pairs, rank_all, rank_cells
from dualclip_lightning.benchmark.report.ranks.resampling import join_images, resampled_means
from dualclip_lightning.benchmark.report.ranks.significance import critical_difference
from dualclip_lightning.benchmark.report.ranks.tables import numbers, pair_table, rank_table, significance_table
from dualclip_lightning.benchmark.report.render import markdown
from dualclip_lightning.benchmark.results import CellResult, assemble, load_run, write_cell
from tests.benchmark_runs import cell, failed, frame, random_cells, write_run

CATEGORIES = [f"c{number}" for number in range(8)]


@pytest.fixture
def cells():
    """Return cells of three methods of different quality."""
    random = np.random.default_rng(0)
    return frame(*(
        cell(method, category, 0, float(np.clip(0.4 + 0.15 * place + random.normal(0, 0.08), 0, 1)))
        for place, method in enumerate(["low", "middle", "high"])
        for category in CATEGORIES
    ))  # fmt: skip


def test_ranks_are_those_of_scipy(cells):
    found = rank_cells(cells, "image_AUROC")
    table = cells.pivot_table(index="category", columns="method", values="image_AUROC")
    by_hand = pd.Series((4 - rankdata(table, axis=1)).mean(axis=0), table.columns)
    assert found.ranks.to_dict() == pytest.approx(by_hand.to_dict())
    assert found.ranks.is_monotonic_increasing
    assert found.critical_difference == critical_difference(8, 3)


def test_pairs_have_wilcoxons_test_corrected_for_their_number(cells):
    pairs = compare_pairs(rank_cells(cells, "image_AUROC")).set_index(["a", "b"])
    table = 100 * cells.pivot_table(index="category", columns="method", values="image_AUROC")
    assert len(pairs) == 3
    for a, b in pairs.index:
        change = table[a] - table[b]
        assert pairs.loc[(a, b), "mean"] == pytest.approx(change.mean())
        assert pairs.loc[(a, b), "p_value"] == pytest.approx(wilcoxon(change).pvalue)
        assert pairs.loc[(a, b), "better"] == (change > 0).sum()
        assert pairs.loc[(a, b), "worse"] == (change < 0).sum()
    smallest = pairs.iloc[0]
    assert smallest["p_value"] == pairs["p_value"].min()
    assert smallest["holm"] == pytest.approx(3 * smallest["p_value"])


@pytest.mark.parametrize(
    ("cells", "metric", "said"),
    [
        ([cell("m", c) for c in CATEGORIES], "image_AP", "at least 2 methods with image AP to rank, but there is 1"),
        ([cell(m, c, metrics={}) for m in "mn" for c in CATEGORIES], "image_AP", "but there are none"),
        ([cell(m, c) for m in "mn" for c in CATEGORIES[:4]], "image_AP", "at least 5 categories"),
        ([cell("m"), cell("n")], "image_APP", "Expected a metric of the runs"),
    ],
)
def test_too_few_methods_or_blocks_are_refused_in_one_sentence(cells, metric, said):
    with pytest.raises(ValueError, match=said) as raised:
        rank_cells(frame(*cells), metric)
    assert "\n" not in str(raised.value)


def test_a_refusal_names_what_was_left_out():
    cells = [*(cell(m, c) for m in "mn" for c in CATEGORIES[:4]), cell("m", "z"), failed(method="n", category="z")]
    with pytest.raises(ValueError, match=r"but got 4\. Add data sets\. Demo/z is left out, because n did"):
        rank_cells(frame(*cells), "image_AP")


def test_a_run_is_ranked_by_every_metric_that_three_methods_have(cells):
    assert [found.blocks.metric for found in rank_all(cells)] == list(METRICS)
    assert rank_all(cells[cells["method"] != "low"]) == []
    assert rank_all(cells[cells["category"].isin(CATEGORIES[:4])]) == []
    cells["pixel_PRO"] = cells["pixel_PRO"].where(cells["method"] != "low")
    assert "pixel_PRO" not in [found.blocks.metric for found in rank_all(cells)]


def test_the_tables_name_metric_blocks_and_tests(cells):
    rankings = rank_all(cells)
    ranks = markdown(rank_table(rankings))
    assert "8 categories: Demo/c0; Demo/c1;" in ranks
    assert re.search(r"\| high \| \*\*1\.\d\d\*\* \|", ranks)
    tests = significance_table(rankings)
    assert [row[0].text for row in tests.rows] == list(METRICS.values())
    assert {row[1].text for row in tests.rows} == {"8"}
    assert {row[-1].text for row in tests.rows} == {f"{critical_difference(8, 3):.2f}"}
    assert any("Those of one data set are alike" in note for note in tests.notes)
    assert any("rough approximation" in note for note in tests.notes)
    frame = numbers(rankings)
    assert len(frame) == 3 * len(METRICS)
    assert frame["blocks"].eq(8).all()
    pairs = pair_table(rankings[0], compare_pairs(rankings[0]))
    assert len(pairs.rows) == 3
    assert any("corrected for the 3 of 3 pairs" in note for note in pairs.notes)


def test_equal_methods_are_reported_as_not_different():
    found = rank_cells(frame(*(cell(m, c) for m in "mno" for c in CATEGORIES)), "image_AP")
    assert found.ranks.tolist() == [2, 2, 2]
    table = significance_table([found])
    assert [entry.text for entry in table.rows[0][3:7]] == ["n/a"] * 4
    assert any("image AP: no difference is found" in note for note in table.notes)
    assert "No test for fewer than 6 categories" in markdown(pair_table(found, compare_pairs(found)))


def test_the_diagram_is_an_image_without_fonts_and_the_same_every_time(cells):
    found = rank_cells(cells, "image_AUROC")
    image = draw_differences(found)
    assert ET.fromstring(image).tag.endswith("svg")  # noqa: S314  # ours
    assert b"font-family" not in image
    assert image == draw_differences(found)
    assert re.match(
        r"Mean ranks: high 1\.\d\d, middle 2\.\d\d, low 2\.\d\d\. Critical difference 1\.17\.", describe(found)
    )


@pytest.mark.parametrize("methods", [["a", "b"], ["a name of a method that is far longer than others " * 2, "b", "c"]])
def test_the_diagram_has_room_for_few_and_for_long_names(methods):
    found = rank_cells(frame(*random_cells(methods, CATEGORIES, [0])), "image_AUROC")
    assert ET.fromstring(draw_differences(found)).tag.endswith("svg")  # noqa: S314  # ours


def write_scored(folder, methods, categories, root, seeds=(0,), count=12, dataset="Demo"):
    """Write a run with image scores and their AUROC, in which each method separates the classes by its strength."""
    keys = []
    for method, strength in methods.items():
        for category in categories:
            for seed in seeds:
                random = np.random.default_rng([seed, *f"{method}{category}".encode()])
                labels = np.arange(count) % 2
                scores = random.normal(size=count) + strength * labels
                paths = [f"{root}/{category}/{'bad' if label else 'good'}/{n}.png" for n, label in enumerate(labels)]
                row = cell(method, category, seed, {"image_AUROC": roc_auc_score(labels, scores)}, dataset)
                images = pd.DataFrame({"image_path": paths, "label": labels, "score": scores})
                write_cell(folder, CellResult(row, images))
                keys.append(row["key"])
    assemble(folder, keys)
    return load_run(folder)


@pytest.mark.slow
def test_resampled_figures_equal_those_of_recomputing_every_resample(tmp_path):
    categories = CATEGORIES[:3]
    run = write_scored(tmp_path / "a", {"m": 0.5, "n": 1.5}, categories, "/data", seeds=(0, 1))
    cells, _ = join([run])
    drawn = resampled_means(join_images([run], cells), find_blocks(cells, "image_AUROC", "category"), 3)
    assert drawn.shape == (3, 2)
    images = run.images.assign(image=run.images["image_path"])
    expected = np.zeros((3, 2))
    for number, category in enumerate(categories):
        random = np.random.default_rng((0, number))
        draws = random.multinomial(12, np.full(12, 1 / 12), size=3)
        for column, method in enumerate("mn"):
            for seed in (0, 1):
                keep = (images["category"] == category) & (images["method"] == method) & (images["seed"] == seed)
                own = images[keep].sort_values("image")
                for draw, weights in enumerate(draws):
                    area = roc_auc_score(own["label"].repeat(weights), own["score"].repeat(weights))
                    expected[draw, column] += 100 * area / 2 / len(categories)
    assert drawn[["m", "n"]].to_numpy() == pytest.approx(expected)


@pytest.fixture(scope="module")
def five_sets(tmp_path_factory):
    """Return runs of two methods on five data sets, whose second method is far better."""
    folder = tmp_path_factory.mktemp("sets")
    sets = [f"set {number}" for number in range(5)]
    return [write_scored(folder / name, {"m": 0.2, "n": 3}, ["x", "y"], "/data", dataset=name) for name in sets]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["category", "dataset"])
def test_the_interval_of_a_difference_holds_the_difference(five_sets, unit):
    found, pairs = rank_methods(*five_sets, unit=unit, bootstrap=100)
    assert len(found.blocks.figures) == (10 if unit == "category" else 5)
    (row,) = pairs.itertuples()
    assert (row.a, row.b) == ("n", "m")
    assert 0 < row.low < row.mean < row.high
    again = rank_methods(*five_sets, unit=unit, bootstrap=100)[1]
    pd.testing.assert_frame_equal(pairs, again)


def test_images_are_paired_by_name_independent_of_their_folder(tmp_path):
    first = write_scored(tmp_path / "a", {"m": 0.5}, CATEGORIES[:5], "/here")
    second = write_scored(tmp_path / "b", {"n": 1.5}, CATEGORIES[:5], "/somewhere/else")
    _, pairs = rank_methods(first, second, bootstrap=20)
    assert pairs["low"].notna().all()
    fewer = write_scored(tmp_path / "c", {"o": 1.5}, CATEGORIES[:5], "/here", count=10)
    with pytest.raises(ValueError, match="the same labelled images of Demo/c0"):
        rank_methods(first, fewer, bootstrap=20)


@pytest.mark.slow
def test_the_command_ranks_three_runs_and_writes_what_it_found(tmp_path, capsys):
    folders = [str(tmp_path / name) for name in "abc"]
    for number, folder in enumerate(folders):
        write_scored(tmp_path / folder, {f"method {number}": number}, CATEGORIES[:5], "/data")
    out = tmp_path / "out"
    assert main([*folders, "--bootstrap", "50", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Mean ranks over categories" in printed
    assert "Do the mean ranks differ?" in printed
    assert "95 % interval" in printed
    assert {path.name for path in out.iterdir()} == {
        "compare.md", "compare.tex", "compare.csv", "ranks.csv", "ranks_image_AUROC.svg",
    }  # fmt: skip
    assert len(pd.read_csv(out / "compare.csv")) == 3
    assert pd.read_csv(out / "ranks.csv")["method"].tolist()[0] == "method 2"


def test_two_runs_are_ranked_if_asked_for(tmp_path, capsys):
    for name, method in (("a", "m"), ("b", "n")):
        write_run(tmp_path / name, random_cells([method], CATEGORIES, [0]))
    runs = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main([*runs, "--ranks", "--metric", "pixel_PRO", "--metric", "image_AP"]) == 0
    assert "PRO: pairs of methods" in capsys.readouterr().out
    assert main([*runs, "--metric", "pixel_PRO"]) == 2
    assert "Add --ranks" in capsys.readouterr().err


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Return a folder with two runs of the same two methods."""
    folder = tmp_path_factory.mktemp("runs")
    for name in "ab":
        write_run(folder / name, random_cells(["m", "n"], CATEGORIES[:5], [0]))
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "--blocks", "dataset"], "at least 5 data sets"),
        (["a", "a", "--ranks"], "a folder is given twice"),
        (["a", "--metric", "pixel_PRO", "--bootstrap", "9"], "image_AUROC among --metric"),
        (["a", "--metric", "nothing"], "Expected a metric of the runs"),
        (["a", "b", "none"], "there is none"),
    ],
)
def test_runs_that_cannot_be_ranked_are_refused_in_one_line(two_runs, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(two_runs)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the curves of a report, which take most of its time."""
    monkeypatch.setattr(figures, "plot_curves", lambda _: figures.address(b"", "svg"))


@pytest.mark.slow
def test_a_run_of_three_methods_has_tables_and_a_section_of_ranks(tmp_path, undrawn):
    run = write_run(tmp_path / "a", random_cells(["m", "n", "<o>"], CATEGORIES[:5], [0]))
    written = {path.name for path in write_tables(run)}
    assert {"ranks.md", "ranks.tex", "ranks.csv"} <= written
    assert len(pd.read_csv(tmp_path / "a" / "tables" / "ranks.csv")) == 3 * len(METRICS)
    page = write_report(run).read_text()
    assert page.count('id="mean-ranks"') == page.count('href="#mean-ranks"') == 1
    assert page.count("Nemenyi's critical difference (CD)") + page.count("Nemenyi&#39;s critical difference (CD)") == 2


@pytest.mark.slow
def test_a_run_of_few_methods_or_categories_has_no_ranks(tmp_path, undrawn):
    run = write_run(tmp_path / "a", [cell()])
    assert not [path for path in write_tables(run) if path.stem == "ranks"]
    assert "mean-ranks" not in write_report(run).read_text()

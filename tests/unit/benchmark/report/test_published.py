"""Published figures are matched with the methods of a run and listed next to them with the right difference."""

from __future__ import annotations

import json
import re
from importlib import import_module
from inspect import signature

import pandas as pd
import pytest
from anomalib.data.datasets.image.mvtecad import CATEGORIES as MVTEC
from anomalib.data.datasets.image.visa import CATEGORIES as VISA

from dualclip_lightning.backbone.checkpoints.choosing import choose
from dualclip_lightning.benchmark.names import title
from dualclip_lightning.benchmark.plan.config import load_config
from dualclip_lightning.benchmark.plan.shipped import find_config
from dualclip_lightning.benchmark.report.comparisons import changed_parameters, comparisons, protocol_notes
from dualclip_lightning.benchmark.report.published import canonical, find_published, load_published
from dualclip_lightning.benchmark.report.render import markdown
from dualclip_lightning.registry import MODELS
from tests.benchmark_runs import cell, failed, frame

SDP = json.dumps({"variant": "sdp"})
TTA = json.dumps({"tta": {"steps": 2}})


def compared(*cells):
    (found,) = comparisons(frame(*cells))
    return found


def test_every_entry_is_a_percentage_with_a_source_and_known_metrics():
    entries = load_published()
    assert len({(e.method, e.source, e.dataset, e.backbone) for e in entries}) == len(entries)
    for entry in entries:
        assert re.search(r"arXiv \d{4}\.\d{5}|github\.com/[\w-]+/[\w-]+", entry.source)
        assert all(title(metric) for metric in entry.figures)
        assert set(entry.spread) <= set(entry.figures)
        assert all(0 < value <= 100 for value in entry.figures.values())


def test_every_entry_belongs_to_a_registered_method_and_its_parameters_exist():
    for entry in load_published():
        for wanted in (entry.match, entry.over or entry.match):
            constructor = getattr(import_module(MODELS[wanted["model"]]), wanted["model"])
            assert set(wanted.get("parameters", {})) <= set(signature(constructor).parameters)


def test_the_numbers_of_categories_are_those_of_anomalib():
    sizes = {entry.dataset: entry.categories for entry in load_published() if entry.categories}
    assert sizes == {"MVTec AD": len(MVTEC), "VisA": len(VISA)}


@pytest.mark.parametrize("name", ["MVTec", "MVTecAD", "mvtec ad", "Mvtecad"])
def test_a_data_set_is_found_under_the_names_of_its_datamodules(name):
    assert canonical(name) == "MVTec AD"


def test_a_data_set_without_published_figures_has_no_table():
    assert canonical("Demo") is None
    assert list(comparisons(frame(cell()))) == []


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({}, ["Dual-Image CLIP"]),
        ({"parameters": TTA}, ["Dual-Image CLIP with TTA"]),
        ({"parameters": json.dumps({"tta": True})}, ["Dual-Image CLIP with TTA"]),
        ({"parameters": json.dumps({"tta": {"steps": 0}})}, ["Dual-Image CLIP"]),
        ({"kind": "inductive"}, []),
        ({"model": "AnoCLIP", "kind": "inductive", "parameters": json.dumps({"steps": 5})}, ["AnoCLIP with TTA"]),
        ({"model": "AnoCLIP", "kind": "inductive", "parameters": json.dumps({"steps": 0})}, []),
        ({"model": "MuSc", "kind": "pair"}, ["MuSc-2"]),
        ({"model": "Patchcore"}, []),
    ],
)
def test_a_method_finds_the_entry_of_its_model_kind_and_settings(row, names):
    assert [entry.method for entry in find_published(cell(dataset="MVTecAD", **row))] == names


def test_the_backbone_chooses_between_two_entries_and_another_backbone_is_stated():
    def found(backbone):
        return find_published(cell(dataset="MVTec", model="MuSc", kind="transductive", backbone=backbone))

    assert {entry.backbone for entry in found("ViT-L-14-336")} == {"ViT-L-14-336"}
    assert found("ViT-L-14-336-quickgelu") == found("ViT-L-14-336")
    assert {entry.backbone for entry in found("ViT-B-32")} == {"ViT-B-16-plus-240", "ViT-L-14-336"}
    _, table, _ = compared(cell(dataset="MVTec", backbone="ViT-B-32"))
    assert "joint: backbone ViT-B-32 here, ViT-B-16-plus-240 published." in table.notes


def test_the_difference_is_ours_minus_theirs():
    seeds = [cell(dataset="MVTec", seed=seed, metrics=value) for seed, value in enumerate((0.90, 0.92, 0.94))]
    dataset, table, figures = compared(*seeds)
    row = figures.set_index("metric").loc["pixel_PRO"]
    assert dataset == "MVTec"
    assert row["here"] == pytest.approx(92)
    assert row["here_std"] == pytest.approx(2)
    assert row["published"] == 82.6
    assert row["difference"] == pytest.approx(92 - 82.6)
    assert "pixel_AP" not in set(figures["metric"])
    text = markdown(table)
    assert "| joint | here | 92.0 ± 2.0 |" in text
    assert "| Dual-Image CLIP | table 1 of arXiv 2405.04782 | 93.1 |" in text
    assert "| +9.4‡ |" in text


def test_the_published_spread_stands_with_its_figure():
    _, table, figures = compared(cell(dataset="MVTec", parameters=TTA))
    assert figures.set_index("metric")["published_std"]["image_AUROC"] == 0.8
    assert "| 93.2 ± 0.8 |" in markdown(table)


def test_a_subset_of_categories_and_changed_parameters_are_stated():
    changed = json.dumps({"tta": False, "alpha": 0.3, "temperature": 0.07, "seed": 4})
    _, table, _ = compared(*(cell(dataset="Visa", category=c, parameters=changed) for c in ("pcb1", "pcb2")))
    assert "joint: mean over 2 of the data set's 12 categories here." in table.notes
    assert "joint: not the defaults here: alpha=0.3." in table.notes
    assert any("VisA is not square" in note for note in table.notes)
    assert any("laion400m_e32" in note and "Resize" in note for note in table.notes)


def test_cells_without_a_result_are_stated_next_to_the_published_figures():
    _, table, _ = compared(cell(dataset="MVTec"), failed(dataset="MVTec", seed=1))
    assert "joint: 1 cells have no result; the mean here rests on the others." in table.notes


def test_a_published_gain_stands_beside_the_gain_over_the_same_method_of_the_run():
    cells = [
        cell("win", dataset="MVTec", model="WindowCLIP", kind="inductive", metrics=0.30),
        cell("sdp", dataset="MVTec", model="ClipAD", kind="transductive", metrics=0.36, parameters=SDP),
    ]
    _, _, figures = compared(*cells)
    gain = figures[figures["method"] == "sdp"].set_index("metric")
    assert gain.loc["pixel_F1Max", "here"] == pytest.approx(6)
    assert gain.loc["pixel_F1Max", "difference"] == pytest.approx(6 - 4.2)
    assert gain.loc["pixel_PRO200", "published"] == 10.7
    assert pd.isna(gain.loc["pixel_PRO200", "here"])  # not comparable with PRO computed in another way


def test_a_gain_over_a_method_that_did_not_run_is_left_out():
    assert list(comparisons(frame(cell("sdp", dataset="MVTec", model="ClipAD", parameters=SDP)))) == []


WIN = {"dataset": "MVTec", "model": "WindowCLIP", "kind": "inductive"}


def test_documents_that_differ_stand_side_by_side_and_none_gets_a_figure_that_is_not_in_it():
    of = {entry.source: entry.figures for entry in find_published(cell(**WIN))}
    assert {source: figures["image_F1Max"] for source, figures in of.items() if "image_F1Max" in figures} == {
        "table 1 of arXiv 2405.04782": 91.9,
        "comparisons of arXiv 2401.16753 and 2503.02424": 92.9,
        "README of github.com/zqhang/Accurate-WinCLIP-pytorch": 92.7,
    }
    assert dict(of["abstract of arXiv 2303.14814"]) == {"image_AUROC": 91.8, "pixel_AUROC": 85.1}
    on_visa = {
        entry.source: entry.figures.get("pixel_PRO") for entry in find_published(cell(**WIN | {"dataset": "VisA"}))
    }
    assert on_visa["table 1 of arXiv 2405.04782"] == 59.8
    assert on_visa["comparisons of arXiv 2401.16753 and 2503.02424"] == 56.8
    _, table, _ = compared(cell(**WIN))
    assert [row[1].text for row in table.rows].count("here") == 1
    assert sum(row[1].text.startswith("difference to") for row in table.rows) == len(of)
    assert any("best known re-implementation" in note for note in table.notes)


def test_pro_of_another_protocol_has_a_separate_column_and_an_unknown_one_a_mark():
    _, table, figures = compared(cell(**WIN, pixel_PRO200=0.6))
    there = figures.set_index(["published_method", "source", "metric"])["difference"]
    readme = ("WinCLIP, re-implemented", "README of github.com/zqhang/Accurate-WinCLIP-pytorch")
    assert there[(*readme, "pixel_PRO200")] == pytest.approx(60 - 61.9)
    assert (*readme, "pixel_PRO") not in there.index
    column = table.columns.index("PRO")
    marked = {row[1].text: row[column].text for row in table.rows if "‡" in row[column].text}
    assert marked == {"table 1 of arXiv 2405.04782": "64.6‡", "difference to table 1 of arXiv 2405.04782": "-14.6‡"}
    assert any(note.startswith("‡ table 1 of arXiv 2405.04782 does not say") for note in table.notes)
    _, without, _ = compared(cell(**WIN))
    assert any("PRO, 200 thresholds is not in this run" in note for note in without.notes)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_defaults_that_were_read_back_from_a_file_are_not_changed(model):
    parameters = signature(getattr(import_module(MODELS[model]), model)).parameters
    stored = json.dumps({name: parameter.default for name, parameter in parameters.items()}, default=str)
    assert changed_parameters(cell(model=model, parameters=stored)) == {}


def test_published_figures_of_anoclip_state_the_protocol_of_its_code():
    entries = [e for e in load_published() if e.method.startswith("AnoCLIP") and "pixel_PRO200" in e.figures]
    assert {entry.dataset for entry in entries} == {"MVTec AD", "VisA"}
    assert all(any("200 linear thresholds" in note for note in entry.protocol) for entry in entries)
    (visa,) = (" ".join(entry.protocol) for entry in entries if entry.dataset == "VisA")
    assert "two square tiles" in visa
    assert "22" not in visa


def test_figures_are_kept_as_numbers():
    _, _, figures = compared(cell(dataset="MVTec"))
    assert all(pd.api.types.is_float_dtype(figures[name]) for name in ("here", "published", "difference"))


def test_the_shipped_configuration_of_muscs_larger_row_meets_it():
    config = load_config(find_config("mvtec_musc_vit_l", "benchmark"))
    (method,), (dataset,) = config.methods.values(), config.datasets
    backbone, _ = choose(method.arguments["backbone"], method.arguments["pretrained"])  # as in a row
    row = cell(dataset=dataset, model=method.model, kind="transductive", backbone=backbone)
    entries = find_published(row)
    assert [(entry.backbone, entry.figures["image_AUROC"]) for entry in entries] == [
        ("ViT-L-14-336", 97.8), ("ViT-L-14-336", 97.77),
    ]  # fmt: skip
    assert all("518 x 518" in entry.protocol[0] for entry in entries)
    assert method.arguments["image_size"] == 518
    assert config.evaluation.pro_200
    notes = [note for entry in entries for note in protocol_notes(row, entry, frame(row))]
    assert not [note for note in notes if "backbone ViT" in note]


@pytest.mark.parametrize("dataset", ["MVTec", "Visa"])
def test_documents_that_repeat_muscs_figures_agree_with_its_own_up_to_rounding(dataset):
    found = find_published(cell(dataset=dataset, model="MuSc", kind="transductive", backbone="ViT-B-16-plus-240"))
    own, repeated = sorted(found, key=lambda entry: "xrli-U/MuSc" not in entry.source)
    figures = {name.replace("PRO200", "PRO"): value for name, value in own.figures.items()}
    assert {name: figures[name] for name in repeated.figures} == pytest.approx(repeated.figures, abs=0.0501)
    assert own.source.split()[-1] in " ".join(repeated.protocol)


@pytest.mark.parametrize("backbone", ["ViT-B-16-plus-240", "ViT-L-14-336"])
def test_both_data_sets_of_a_method_have_figures_by_the_protocol_of_its_code(backbone):
    for dataset in ("MVTec", "Visa"):
        entries = find_published(cell(dataset=dataset, model="MuSc", kind="transductive", backbone=backbone))
        assert any("pixel_PRO200" in entry.figures for entry in entries)

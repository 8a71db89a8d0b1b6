"""A renamed model is still found by its former name, in the commands of this package and in recorded results."""

from __future__ import annotations

import json

import pytest

import dualclip_lightning
from dualclip_lightning import cli
from dualclip_lightning.benchmark.plan.cells import identity, plan
from dualclip_lightning.benchmark.plan.config import parse_config
from dualclip_lightning.benchmark.results import load_run, read_cell
from dualclip_lightning.commandline.anomalib_arguments import former_models, with_current_models
from dualclip_lightning.models import winclip
from dualclip_lightning.registry import FORMER_NAMES, MODELS


def cells(model: str):
    method = {"model": model, "arguments": {"pretrained": "demo"}}
    return plan(parse_config({"methods": {"a": method}, "datasets": {"Demo": {"categories": ["pcb"]}}}))


def test_python_has_one_class_under_both_names():
    assert dualclip_lightning.WinCLIP is dualclip_lightning.WindowCLIP is winclip.WinCLIP
    assert dualclip_lightning.WindowCLIP.__name__ in MODELS


def test_a_configuration_of_a_benchmark_may_have_either_name_and_finds_results_recorded_before():
    (before,), (now,) = cells("WinCLIP"), cells("WindowCLIP")
    assert before == now
    assert now.model == "WindowCLIP"
    assert identity(now)["model"] == "WinCLIP"  # keys of recorded cells contain it


def test_recorded_results_are_read_under_the_new_name(tmp_path):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "a.json").write_text(json.dumps({"status": "done", "model": "WinCLIP"}))
    (tmp_path / "results.csv").write_text("key,status,model,method\na,done,WinCLIP,WinCLIP\nb,done,MuSc,MuSc\n")
    assert read_cell(tmp_path, "a")["model"] == "WindowCLIP"
    results = load_run(tmp_path).frame
    assert results["model"].tolist() == ["WindowCLIP", "MuSc"]
    assert results["method"].tolist() == ["WinCLIP", "MuSc"]  # labels do not change


@pytest.mark.parametrize("former", FORMER_NAMES)
@pytest.mark.parametrize("written", [["--model", "{}"], ["--model={}"]])
def test_our_commands_accept_the_former_name_and_print_the_new_one(former, written, monkeypatch, capsys):
    given, told = [], FORMER_NAMES[former]
    monkeypatch.setattr(cli, "_command_line", lambda: given.append)
    monkeypatch.setattr(cli, "print_once", lambda: None)
    monkeypatch.setattr("anomalib.cli.cli.configure_logger", lambda: None)  # its handlers would remain
    assert cli.main(["test", *(part.format(former) for part in written), "--data", "Demo"]) == 0
    assert given == [["test", *(part.format(told) for part in written), "--data", "Demo"]]
    assert capsys.readouterr().err == (
        f"dualclip: The model {former} is called {told}, because anomalib has a model of nearly that name.\n"
    )


@pytest.mark.parametrize("name", ["WinClip", "anomalib.models.WinClip", "WindowCLIP", "Patchcore"])
def test_other_names_do_not_change(name):
    arguments = ["test", "--model", name, "--data", "WinCLIP", "--model.class_name=WinCLIP"]
    assert list(former_models(arguments)) == []
    assert with_current_models(arguments) == arguments

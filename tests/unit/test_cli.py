from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dualclip_lightning import cli


def test_help_lists_our_commands_and_those_of_anomalib_except_install_and_benchmark(capsys):
    from anomalib.cli.cli import AnomalibCLI
    from anomalib.cli.pipelines import pipeline_subcommands

    theirs = {*AnomalibCLI.subcommands(), *AnomalibCLI.anomalib_subcommands(), *pipeline_subcommands()}
    assert set(cli.ANOMALIB_COMMANDS) == theirs - {"benchmark"}
    assert "`anomalib benchmark`" in cli._help()
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {command} " in printed for command in {"demo", *theirs})
    assert "\n  install " not in printed


def test_without_a_command_help_is_shown(capsys):
    assert cli.main([]) == 0
    assert "usage: dualclip" in capsys.readouterr().out


def test_version_names_both_packages(capsys):
    from importlib.metadata import version

    assert cli.main(["--version"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed == f"dualclip_lightning {version('dualclip_lightning')} (anomalib {version('anomalib')})"


def test_demo_gets_the_arguments_after_its_name_and_gives_its_exit_status(monkeypatch):
    seen = []
    module = SimpleNamespace(main=lambda argv: seen.append(argv) or 3)
    monkeypatch.setitem(sys.modules, "dualclip_lightning.demo.options", module)
    assert cli.main(["demo", "--seed", "1"]) == 3
    assert seen == [["--seed", "1"]]


@pytest.mark.parametrize("arguments", [["shots", "--class-name", "plate"], ["--help"], []])
def test_predict_with_a_path_is_ours(arguments, monkeypatch):
    seen = []
    module = SimpleNamespace(main=lambda argv: seen.append(argv) or 1)
    monkeypatch.setitem(sys.modules, "dualclip_lightning.predict.options", module)
    assert cli.main(["predict", *arguments]) == 1
    assert seen == [arguments]


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("tset", "Did you mean `dualclip test`?"),
        ("Demos", "Did you mean `dualclip demo`?"),
        ("qqqq", "Run `dualclip --help`"),
        ("install", "would replace open_clip"),
    ],
)
def test_an_unknown_command_fails_and_names_the_remedy(command, hint, capsys):
    assert cli.main([command]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wrong", "right"),
    [
        (["--model", "DualImgClip", "--data", "MVTec"], "--model", "DualImageCLIP"),
        (["--model=patchcor"], "--model", "Patchcore"),
        (["--model", "DualImageCLIP", "--data", "MVTek"], "--data", "MVTec"),
    ],
)
def test_an_unknown_class_fails_before_anything_runs_and_names_the_nearest(arguments, wrong, right, capsys):
    assert cli.main(["test", *arguments]) == 2
    printed = capsys.readouterr().err
    assert f"Expected {wrong} to name a known class" in printed
    assert right in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["test", "--model", "DualImageCLIP", "--data", "MVTec"],
        ["predict", "--model", "DualImageCLIP", "--data", "folder"],
        ["predict", "--model", "dualclip_lightning.DualImageCLIP", "--data", "some/folder"],
        ["--print_config", "test"],
    ],
)
def test_other_arguments_reach_anomalib_unchanged(arguments, monkeypatch, tmp_path):
    seen = []
    recorder = type("Recorder", (), {"__init__": lambda _, args: seen.append(args)})
    monkeypatch.setattr("anomalib.cli.cli.AnomalibCLI", recorder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    assert cli.main(arguments) == 0
    assert seen == [arguments]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--model.alpha", "2", "dualclip: Expected alpha to be in [0, 1], but got 2.0."),
        ("--model.backbone", "ViT-B-61", "dualclip: Unknown backbone 'ViT-B-61'. Did you mean ViT-B-16"),
    ],
)
def test_a_refusal_of_our_model_is_one_line(option, value, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["test", "--model", "DualImageCLIP", "--data", "MVTec", option, value])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(sentence)


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch):
    monkeypatch.setattr("anomalib.cli.cli.configure_logger", lambda: None)


def test_an_interrupt_during_the_import_of_a_command_gives_one_word_and_no_traceback(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "dualclip: stopped.\n"


@pytest.mark.parametrize(
    ("arguments", "ours"),
    [
        (["--bundle", "plate.dualclip", "--out", "plate.onnx"], True),
        (["--help"], True),
        (["--model", "DualImageCLIP", "--export_type", "onnx"], False),
        (["--config", "export.yaml"], False),
    ],
)
def test_export_with_a_bundle_is_ours_and_with_a_model_anomalibs(arguments, ours, monkeypatch):
    seen = []
    module = SimpleNamespace(main=lambda argv: seen.append(("ours", argv)) or 0)
    monkeypatch.setitem(sys.modules, "dualclip_lightning.predict.export.options", module)
    monkeypatch.setattr(cli, "_run_anomalib", lambda argv: seen.append(("anomalib", argv)) or 0)
    assert cli.main(["export", *arguments]) == 0
    assert seen == [("ours", arguments) if ours else ("anomalib", ["export", *arguments])]

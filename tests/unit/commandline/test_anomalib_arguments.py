from __future__ import annotations

import json
import re

import pytest

from dualclip_lightning.commandline.anomalib_arguments import nearest, refusals, unknown_arguments, unknown_classes
from dualclip_lightning.registry import register


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "MuSc", "--model.sed", "1"], "MuSc has no argument 'sed'. Did you mean --model.seed?"),
        (["--model=MuSc", "--model.sed=1"], "MuSc has no argument 'sed'. Did you mean --model.seed?"),
        (["--model", "dualclip_lightning.MuSc", "--model.sed=1"], "MuSc has no argument 'sed'."),
        (["--data", "MVTec", "--data.categry", "x"], "MVTec has no argument 'categry'. Did you mean --data.category?"),
        (["--data", "dualclip_lightning.data.Demo", "--data.qqqq", "x"], "Demo has no argument 'qqqq'. Its arguments"),
    ],
)
def test_an_unknown_argument_of_our_class_is_reported_with_the_nearest(arguments, sentence):
    (told,) = unknown_arguments(["test", *arguments])
    assert told.startswith(sentence)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "MuSc", "--model.seed", "1", "--data", "Demo", "--data.category", "cork"],
        ["--model", "MuSc", "--model.init_args.seed=1", "--model.help"],
        ["--model", "Patchcore", "--model.sed", "1", "--data", "Folder", "--data.qqqq", "1"],
        ["--model", "elsewhere.MuSc", "--model.sed", "1"],
        ["--model.sed", "1"],
        ["--data", "some/folder"],
    ],
)
def test_known_arguments_and_those_of_other_classes_are_not_reported(arguments):
    assert not list(unknown_arguments(["test", *arguments]))


def test_the_nearest_names_are_found_in_any_case():
    assert nearest("BOTLE", ["cable", "Bottle"])[0] == "Bottle"
    assert nearest("qqqq", ["cable", "Bottle"]) == []


@pytest.fixture
def config(tmp_path):
    """Writes a configuration with a model and its arguments, and gives the command line that names it."""

    def write(model: object, suffix: str = "yaml") -> list[str]:
        file = tmp_path / f"run.{suffix}"
        file.write_text(json.dumps({"model": model, "data": "Demo"}))  # JSON is YAML
        return ["test", "--config", str(file)]

    return write


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            {"class_path": "MuSc", "init_args": {"sed": 1}},
            "MuSc has no argument 'sed' in '.*run.yaml'. Did you mean seed?",
        ),
        ({"class_path": "WinCLIP"}, "The model WinCLIP is called WindowCLIP, .* Change the name in '.*run.yaml'."),
        ("WinCLIP", "The model WinCLIP is called WindowCLIP, .* Change the name in '.*run.yaml'."),
        ("MuSk", "Expected --model to name a known class, but got 'MuSk' in '.*run.yaml'. Did you mean MuSc"),
    ],
)
def test_what_a_configuration_file_names_wrongly_is_told_with_the_file(model, sentence, config):
    register()
    (told,) = refusals(config(model))
    assert re.match(sentence, told)


@pytest.mark.parametrize(
    "model",
    [
        {"class_path": "MuSc", "init_args": {"seed": 1}}, "dualclip_lightning.MuSc",
        "dualclip_lightning.models.WinCLIP", [1],
        {"class_path": "Patchcore", "init_args": {"sed": 1}}, "Patchcoer", {"init_args": {"seed": 1}}, None,
    ],
)  # fmt: skip
def test_a_configuration_file_of_ours_without_faults_and_one_of_anomalibs_are_left_alone(model, config):
    register()
    assert not list(refusals(config(model, "json")))


def test_a_file_that_is_no_configuration_is_left_to_anomalib(tmp_path):
    for name, content in (("list.yaml", b"- 1"), ("broken.yaml", b"a: [1"), ("bytes.yml", b"\xff\xfe\x00")):
        (tmp_path / name).write_bytes(content)
        assert not list(refusals(["test", "--config", str(tmp_path / name)]))


def test_a_misspelt_class_is_told_by_anomalibs_own_command_only_where_the_nearest_is_ours():
    register()
    for name, ours in (("DualImgCLIP", True), ("Patchcoer", False)):
        arguments = ["test", "--model", name, "--data", "Demo"]
        assert len(list(unknown_classes(arguments))) == 1
        assert len(list(unknown_classes(arguments, like_ours=True))) == ours

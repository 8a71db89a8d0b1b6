from __future__ import annotations

import pytest

from dualclip_lightning.commandline.anomalib_arguments import nearest, unknown_arguments


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

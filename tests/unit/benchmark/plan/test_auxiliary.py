from __future__ import annotations

import pytest

from dualclip_lightning.benchmark.plan.cells import plan, trainings_of
from dualclip_lightning.benchmark.plan.config import ConfigError, load_config, parse_config
from tests.tiny_benchmark import CONFIGS, tiny_content

DATA = {"Visa": {"categories": ["pcb1", "pcb2"], "arguments": {"root": "visa"}}, "BTech": {}}
BOARDS = {"data": "Folder", "arguments": {"name": "boards", "root": "boards", "normal_dir": "good"}}


def content(method=None, **datasets):
    method = {"model": "ClipAD", "arguments": {"variant": "sdp+"}} | (method or {})
    return tiny_content("data", "demo", methods={"a": method}, datasets=datasets or DATA, seeds=[0, 1])


def refusal(*args, **kwargs):
    with pytest.raises(ConfigError) as refused:
        parse_config(content(*args, **kwargs))
    return str(refused.value)


@pytest.mark.parametrize(
    ("train_on", "sentence"),
    [
        ("Visa", "Expected `methods.a.train_on` to name a data set, such as {data: Visa}, but got 'Visa'"),
        ({"categories": ["pcb1"]}, "Expected `methods.a.train_on` to name a data set"),
        ({"data": "MVTecAD", "categris": 1}, "key of methods.a.train_on 'categris'. Did you mean 'categories'"),
        ({"data": "MVTecADD"}, "methods.a.train_on: Unknown data set 'MVTecADD'. Did you mean 'MVTecAD'"),
        ({"data": "MVTecAD", "arguments": {"rot": 1}}, "methods.a.train_on: Unknown argument of MVTecAD 'rot'. Did"),
        ({"data": "MVTecAD", "categories": ["botle"]}, "Unknown category of MVTecAD 'botle'. Did you mean 'bottle'"),
        ({"data": "MVTecAD", "categories": "bottle"}, 'train_on: Expected categories to be "all" or a list'),
        ({"data": "MVTecAD", "method_arguments": {"epoch": 1}}, "Unknown argument of ClipAD 'epoch'. Did you mean 'ep"),
        ({"data": "Folders", "arguments": {"root": "/nowhere"}}, "methods.a.train_on: '/nowhere' does not exist"),
        ({"data": "Folder"}, "methods.a.train_on: Folder needs name and normal_dir"),
    ],
)
def test_wrong_training_data_are_refused_with_the_nearest_name(train_on, sentence):
    assert sentence in refusal({"train_on": train_on})


def test_a_class_without_the_hook_and_a_checkpoint_beside_it_are_refused():
    train_on = {"data": "MVTecAD"}
    assert "MuSc cannot be trained on other data" in refusal({"model": "MuSc", "arguments": {}, "train_on": train_on})
    assert "the method has a `checkpoint` already" in refusal({"checkpoint": "some.ckpt", "train_on": train_on})


@pytest.mark.parametrize(
    ("train_on", "tested"),
    [
        ({"data": "Visa"}, {"Visa": {}}),
        ({"data": "Visa", "arguments": {"root": "other"}}, {"Visa": {}}),
        ({"data": "boards"}, {"boards": BOARDS}),
        ({"data": "MVTec"}, {"mine": {"data": "MVTecAD", "arguments": {"root": "elsewhere"}}}),
        ({"data": "Folders", "arguments": {"root": "./boards"}, "categories": ["a"]}, {"boards": BOARDS}),
    ],
)
def test_training_on_the_data_that_are_tested_is_refused(train_on, tested):
    said = refusal({"train_on": train_on}, **tested)
    assert "which are the same images" in said
    assert f"Set `methods.a.per_dataset.{next(iter(tested))}.train_on` to other data" in said


@pytest.mark.parametrize(
    ("train_on", "tested"),
    [
        ({"data": "Demo"}, {"MVTecAD": {}}),  # one class derives from the other
        ({"data": "Folder", "arguments": {**BOARDS["arguments"], "root": "others"}}, {"boards": BOARDS}),
    ],
)
def test_training_on_other_data_is_not_refused(train_on, tested):
    parse_config(content({"train_on": train_on}, **tested))


def test_there_is_one_training_per_seed_whatever_is_tested_and_however_the_method_is_called():
    method = {"model": "ClipAD", "arguments": {"variant": "sdp+"}, "train_on": {"data": "MVTecAD"}}
    both = {"a": method, "b": {**method, "per_dataset": {"BTech": {"arguments": {"eps": 1.5}}}}}
    cells = plan(parse_config(content() | {"methods": both}))
    trainings = trainings_of(cells)
    assert [training.seed for training in trainings] == [0, 1]
    assert all(cell.training.seed == cell.seed for cell in cells)
    assert len({cell.key for cell in cells}) == len(cells)
    (first, _) = trainings
    assert len(first.trained_categories) == 15
    assert first.key.startswith("training-clipad-mvtecad-s0-")


def test_settings_of_a_data_set_of_the_configuration_count_for_training():
    cells = plan(parse_config(content({"per_dataset": {"BTech": {"train_on": {"data": "Visa"}}}, "checkpoint": None})))
    trainings = trainings_of(cells)
    assert {training.data_arguments["root"] for training in trainings} == {"visa"}
    assert {training.trained_categories for training in trainings} == {("pcb1", "pcb2")}
    assert {cell.dataset: cell.training is not None for cell in cells} == {"Visa": False, "BTech": True}


def test_whatever_determines_the_layers_changes_the_key_of_training_and_test():
    def keys(method=None, **train_on):
        settings = {"train_on": {"data": "MVTecAD", **train_on}, **(method or {})}
        (cell, *_) = plan(parse_config(content(settings, BTech={"categories": ["01"]})))
        return cell.training.key, cell.key

    base = keys()
    assert keys() == base
    changes = [
        keys(method_arguments={"eps": 1.5}),
        keys(categories=["bottle"]),
        keys(arguments={"root": "other"}),
        keys({"trainer": {"max_epochs": 1}}),
        keys({"arguments": {"variant": "sdp+", "epochs": 1}}),
    ]
    assert all(not set(each) & set(base) for each in changes)
    training, test = keys({"per_dataset": {"BTech": {"arguments": {"drawing": {"sigma": 2}}}}})
    assert training == base[0]
    assert test != base[1]


def test_the_shipped_configuration_trains_on_each_of_the_two_data_sets_and_tests_on_the_other():
    cells = plan(load_config(CONFIGS / "sdp_plus.yaml", ["seeds=[0]"]))
    pairs = {(each.training.data, each.data): each.training.arguments["eps"] for each in cells if each.training}
    assert pairs == {("Visa", "MVTecAD"): 1.5, ("MVTecAD", "Visa"): 0.5}
    own = {each.data: each.arguments.get("eps", 0.5) for each in cells if each.training}
    assert own == {"MVTecAD": 0.5, "Visa": 1.5}
    assert [len(training.trained_categories) for training in trainings_of(cells)] == [12, 15]

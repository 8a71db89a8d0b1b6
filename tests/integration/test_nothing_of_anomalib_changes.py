"""The names of anomalib give the same classes with the plug-in of this package as without it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dualclip_lightning.registry import DATAMODULES, MODELS
from tests.interpreters import run_prepared

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
import torch  # with the plug-in it brings our models
import anomalib.data, anomalib.models
from anomalib.models import AnomalibModule, get_model, list_models
from jsonargparse import ArgumentParser

def path(owner):
    return f"{owner.__module__}.{owner.__qualname__}"

def by_command_line(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibModule, "model", fail_untyped=False)
    return path(type(parser.instantiate_classes(parser.parse_args(["--model", name])).model))

names = json.loads(sys.argv[1]) or {case: sorted(list_models(case)) for case in ("snake", "pascal", "title")}
for owner in AnomalibModule.__subclasses__():
    owner.__init__ = lambda self, *args, **kwargs: None  # which class it is, not what it loads

spelt = [name for case in ("snake", "pascal") for name in names[case]]
spelt += [change(name) for name in spelt for change in (str.upper, str.lower)]
found = {
    "list_models": {case: sorted(list_models(case)) for case in names},
    "get_model": {name: path(type(get_model(name))) for name in spelt},
    "class paths": {name: path(type(get_model({"class_path": name}))) for name in names["pascal"]},
    "command line": {name: by_command_line(name) for name in names["pascal"]},
    "modules": {
        f"{module.__name__}.{name}": path(value)
        for module in (anomalib.models, anomalib.data)
        for name, value in vars(module).items()
        if isinstance(value, type)
    },
}
print(json.dumps({"names": names, "found": found}))
"""


def ask(plugin: bool, names: dict | None = None) -> dict:
    """Return the classes that anomalib finds for `names`; None takes all names that anomalib itself lists."""
    off = {} if plugin else {"DUALCLIP_NO_PLUGIN": "1"}
    ended = run_prepared(["-c", SCRIPT, json.dumps(names)], Path.cwd(), {**os.environ, **off})
    assert ended.status == 0, ended.err
    return json.loads(ended.out.splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    return ask(plugin=False)


@pytest.fixture(scope="module")
def beside_us(alone):
    return ask(plugin=True, names=alone["names"])["found"]


def test_every_name_gives_the_same_class_in_any_spelling(alone, beside_us):
    assert alone["found"]["get_model"]["win_clip"] == "anomalib.models.image.winclip.lightning_model.WinClip"
    for way in ("get_model", "class paths", "command line", "modules"):
        assert len(alone["found"][way]) > 30
        assert {name: beside_us[way][name] for name in alone["found"][way]} == alone["found"][way]


def test_lists_of_models_lose_no_name_and_gain_only_ours(alone, beside_us):
    for case, names in alone["names"].items():
        gained = set(beside_us["list_models"][case]) - set(names)
        assert set(names) <= set(beside_us["list_models"][case])
        assert len(gained) == len(MODELS)
    assert set(beside_us["list_models"]["pascal"]) - set(alone["names"]["pascal"]) == set(MODELS)


def test_no_name_of_ours_is_one_of_anomalibs_in_other_capitals(alone):
    taken = {name.rpartition(".")[2].lower() for name in alone["found"]["modules"]}
    assert taken.isdisjoint({name.lower() for name in (*MODELS, *DATAMODULES)})

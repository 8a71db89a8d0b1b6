from __future__ import annotations

import importlib
import sys
from importlib import metadata

import anomalib.models
import pytest

from dualclip_lightning import MuSc
from dualclip_lightning.benchmark.plan import methods
from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.methods import (
    MethodError,
    canonical_name,
    common_arguments,
    method_arguments,
    method_class,
    method_names,
)
from dualclip_lightning.benchmark.plan.sources import class_path, package, source_digest
from tests.outside_method import write_outside_method
from tests.tiny_benchmark import tiny_config


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


def offer(monkeypatch, **values):
    entries = metadata.EntryPoints(metadata.EntryPoint(n, v, methods.ENTRY_POINTS) for n, v in values.items())
    monkeypatch.setattr(methods, "entry_points", lambda group: entries.select(group=group))
    monkeypatch.setattr(methods, "_offered", methods._offered.__wrapped__)  # which is read once


@pytest.mark.parametrize("name", ["Padim", "padim", "PADIM", "anomaly_dino", "AnomalyDINO", "efficient_ad", "WinClip"])
def test_a_spelling_of_anomalib_means_the_class_that_anomalib_means(name):
    expected = anomalib.models._get_model_class_by_name(name)
    assert method_class(name) is expected
    assert canonical_name(name) == expected.__name__


def test_every_image_model_of_anomalib_can_be_named_and_no_video_model():
    names = set(method_names())
    assert set(anomalib.models.__all__) - names == {"AiVad", "Fuvas"}
    assert all(method_arguments(name) for name in names)


@pytest.mark.parametrize("name", ["MuSc", "musc", "mu_sc", "dualclip_lightning.MuSc", "dualclip_lightning.models.MuSc"])
def test_a_registered_method_has_its_name_or_path(name):
    assert method_class(name) is MuSc


def test_a_former_name_of_ours_is_not_confused_with_anomalibs_method():
    assert canonical_name("WinCLIP") == "WindowCLIP"
    assert method_class("win_clip") is anomalib.models.WinClip


@pytest.mark.slow
def test_a_class_in_the_current_folder_is_found_and_its_arguments_are_those_of_its_constructor(here):
    write_outside_method(here)
    owner = method_class("mymethod.ColourKnn")
    assert class_path(owner) == "mymethod.ColourKnn"
    assert package(owner) == str(here / "mymethod.py")
    assert method_arguments("mymethod.ColourKnn") == {"neighbours": 1, "size": 32}


def test_common_arguments_go_where_they_are_accepted_and_never_to_anomalibs_backbone(here):
    write_outside_method(here, changes=[("size: int = 32", "size: int = 32, words: str = 'plain'")])
    common = {"words": "released", "backbone": "ViT-B-16"}
    assert common_arguments("mymethod.ColourKnn", common) == {"words": "released"}
    assert common_arguments("Padim", common) == {}
    assert common_arguments("MuSc", common) == common


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("import nothing_such", "broken.A", "'broken.A' cannot be imported: No module named 'nothing_such'"),
        ("1 / 0", "broken.A", "'broken.A' cannot be imported: ZeroDivisionError"),
        ("class A: pass", "broken.A", "Expected 'broken.A' to be a subclass of anomalib's AnomalibModule"),
        ("", "broken.A", "The module 'broken' has no class 'A'. It has no methods."),
        ("", "brokn.A", "Did you mean 'broken'?"),
    ],
)
def test_a_path_that_leads_to_no_method_is_refused_with_the_reason(text, asked, sentence, here):
    (here / "broken.py").write_text(text)
    with pytest.raises(MethodError) as refused:
        method_class(asked)
    assert sentence in str(refused.value)


def test_an_entry_point_offers_a_method_by_its_name_but_takes_no_name_from_anomalib(here, monkeypatch):
    write_outside_method(here)
    method_class("mymethod.ColourKnn")  # the folder is known from here
    offer(monkeypatch, Colours="mymethod:ColourKnn", Padim="mymethod:ColourKnn")
    assert method_class("Colours") is method_class("mymethod.ColourKnn")
    assert method_class("Padim") is anomalib.models.Padim
    with pytest.raises(MethodError, match="Did you mean 'Colours'"):
        method_class("Colour")


def test_the_code_of_an_outside_method_is_part_of_the_key_and_that_of_an_installed_one_is_not(here):
    def key():
        methods_ = {"a": {"model": "mymethod.ColourKnn"}}
        return plan(tiny_config("data", "demo", methods=methods_, seeds=[0]))[0].key

    path = write_outside_method(here)
    first = key()
    assert key() == first
    path.write_text(path.read_text() + "\n# changed\n")
    assert key() != first
    assert source_digest(anomalib.models.Padim) is source_digest(MuSc) is None
    assert package(anomalib.models.Padim) == f"anomalib {metadata.version('anomalib')}"


def test_settings_of_training_count_and_change_no_key_where_they_are_left_out():
    def key(**settings):
        return plan(tiny_config("data", "demo", methods={"a": {"model": "padim", **settings}}, seeds=[0]))[0].key

    assert key() == key(k_shot=None, trainer={})
    different = [key(), key(k_shot=2), key(trainer={"max_epochs": 2}), key(train_batch_size=1), key(kind="pair")]
    assert len(set(different)) == len(different)

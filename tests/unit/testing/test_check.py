"""Checks of methods: each finds a method that breaks its promise, and the report states what was found."""

from __future__ import annotations

import ast
from pathlib import Path
from unittest import SkipTest

import pytest
import torch

from dualclip_lightning import testing
from dualclip_lightning.models import ClipZeroShot
from dualclip_lightning.testing import MethodCheckError, check_method, method_checks
from dualclip_lightning.testing.checks import CHECKS
from tests.unit.testing.broken import BROKEN, AlwaysObject
from tests.unit.testing.plain import Plain, Trained


def test_there_is_a_broken_method_for_every_check():
    assert BROKEN.keys() == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_fails_for_a_method_that_breaks_its_promise(name):
    method, sentence = BROKEN[name]
    with pytest.raises(AssertionError, match=sentence):
        dict(method_checks(method, temperature=0.5) if isinstance(method, type) else method_checks(method))[name]()


def test_anchors_of_another_class_are_found():
    with pytest.raises(AssertionError, match=r"With class_name='metal_nut' .* the text anchors are not those of"):
        dict(method_checks(AlwaysObject))["the_class_name_is_honoured"]()


@pytest.mark.slow
@pytest.mark.parametrize("method", [Plain, Trained])
def test_a_method_that_is_not_ours_passes_and_the_report_states_what_does_not_apply(method):
    report = check_method(method)
    assert not report.failed
    assert "a_checkpoint_gives_the_same_scores" in report.passed
    assert "labels_and_masks_change_no_score" in report.passed
    assert report.skipped["the_backbone_is_frozen"] == "The method does not derive from ZeroShotShell."
    assert len(report.passed) + len(report.skipped) == len(CHECKS)
    assert str(report).startswith(
        f"{method.__name__}: {len(report.passed)} passed, {len(report.skipped)} skipped, 0 fa"
    )


def test_a_method_that_is_not_ours_may_not_use_the_batch_either():
    def make():
        method = Plain()
        forward = method.model.forward
        method.model.forward = lambda images: forward(images - images.mean(dim=0))
        return method

    with pytest.raises(AssertionError, match="In batches of 1 instead of 9"):
        dict(method_checks(make))["batches_change_no_score"]()


def test_arguments_reach_a_function_and_its_method_is_checked():
    temperatures = []

    def make(**arguments):
        method = ClipZeroShot(**arguments)
        temperatures.append(method.hparams["temperature"])
        return method

    dict(method_checks(make, temperature=0.5))["every_image_gets_a_finite_score_and_map"]()
    assert set(temperatures) == {0.5}


@pytest.mark.slow
def test_a_backbone_that_is_chosen_stays():
    def make(**arguments):
        assert "pretrained" not in arguments
        return ClipZeroShot(**arguments, pretrained="demo")

    dict(method_checks(make, backbone="ViT-B-16-plus-240"))["a_batch_of_any_size_is_scored"]()


def test_all_failures_are_in_one_error_and_each_sentence_only_once():
    def make(**arguments):
        message = "There are no weights."
        raise RuntimeError(message)

    with pytest.raises(MethodCheckError, match=r"make fails 26 of 26 check\(s\):") as raised:
        check_method(make)
    assert str(raised.value).count("The method raises RuntimeError: There are no weights.") == 1
    assert len(raised.value.report.failed) == len(CHECKS)


def test_what_is_no_method_is_refused_by_what_it_is():
    with pytest.raises(MethodCheckError, match="that gives an AnomalibModule, but got int"):
        check_method(lambda: 3)


def test_a_check_that_does_not_apply_raises_what_test_runners_know():
    with pytest.raises(SkipTest, match="does not derive from ZeroShotShell"):
        dict(method_checks(Plain))["the_backbone_is_frozen"]()


def test_the_callers_generators_are_as_before_a_check():
    before = torch.get_rng_state()
    dict(method_checks(Trained))["the_same_seed_gives_the_same_result"]()
    assert torch.equal(torch.get_rng_state(), before)


def test_importing_the_checks_needs_no_pytest():
    sources = list(Path(testing.__file__).parent.rglob("*.py"))
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    imported = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imported) > 30
    assert not [line for line in imported if "pytest" in line or "tests." in line]

from __future__ import annotations

from math import nan

import pytest

from dualclip_lightning.benchmark.options import regression as main
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.regression import Guard, Move, load_guard
from tests.tiny_benchmark import tiny_config


@pytest.mark.parametrize(
    ("before", "now", "too_far"),
    [(0.5, 0.6, False), (0.5, 0.7, True), (0.5, nan, True), (nan, 0.5, True), (None, 0.5, True), (0.5, None, True)],
)
def test_a_figure_may_change_by_its_tolerance_and_must_be_a_number(before, now, too_far):
    assert Move("cell", "image_AP", before, now, tolerance=0.15).too_far is too_far


def test_a_tolerance_of_zero_allows_nothing():
    assert not Move("cell", "image_AP", 0.5, 0.5, tolerance=0).too_far
    assert Move("cell", "image_AP", 0.5, 0.5000001, tolerance=0).too_far


def test_a_tolerance_of_zero_causes_no_division_by_zero(tmp_path, monkeypatch, capsys):
    from dualclip_lightning.benchmark import regression

    numbers = {"cell": {"image_AP": 0.5}}
    guard = Guard(tiny_config("data", "demo"), {"cpu": {"image_": 0}})
    (tmp_path / "guard.json").write_text('{"numbers": {"cell": {"image_AP": 0.5}}}')
    monkeypatch.setattr(regression, "measure", lambda *_: None)
    monkeypatch.setattr(regression, "numbers", lambda _: numbers)
    assert regression.check(tmp_path / "guard.yaml", guard, None, console=None) == 0
    assert "1 numbers within their tolerance" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["benchmark: {", "[1]", "benchmark: 3\ntolerances: {}"])
def test_an_invalid_regression_configuration_is_refused_in_one_sentence(content, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_guard(path)
    assert main(["check", "--config", str(path)]) == 2
    assert "Expected" in capsys.readouterr().err

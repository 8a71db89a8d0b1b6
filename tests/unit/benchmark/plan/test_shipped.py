from __future__ import annotations

import shutil

import pytest

from dualclip_lightning.benchmark import options
from dualclip_lightning.benchmark.plan import shipped
from dualclip_lightning.benchmark.plan.config import ConfigError, load_config
from dualclip_lightning.benchmark.plan.shipped import config_names, find_config
from tests.tiny_benchmark import CONFIGS


def test_a_shipped_configuration_is_found_by_name_and_by_its_path_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("demo", "configs/benchmark/demo.yaml"):
        assert load_config(find_config(given, "benchmark")).name == "demo"
    assert find_config("demo", "regression").parent.name == "regression"


def test_a_file_of_the_user_takes_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("mine")
    assert find_config("demo", "benchmark").read_text() == "mine"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"Expected 'dmo' to be a YAML file, or one of .*demo, demo_ablations, .*mvtec"
    ):
        find_config("dmo", "benchmark")


def test_an_installed_package_includes_its_configurations(tmp_path, monkeypatch):
    shutil.copytree(CONFIGS.parent, tmp_path / "configs")
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path)
    assert find_config("demo", "benchmark").is_relative_to(tmp_path)
    assert config_names("benchmark") == sorted(path.stem for path in CONFIGS.iterdir())


def test_the_help_lists_the_configurations(capsys):
    with pytest.raises(SystemExit):
        options.benchmark(["--help"])
    assert "ablation_steps" in capsys.readouterr().out

"""`dualclip regression`: recording figures, and reporting those that have changed."""

from __future__ import annotations

import json

import pytest
import yaml

from dualclip_lightning.benchmark.options import regression as main


@pytest.fixture
def guard(tmp_path, mvtec_root, tiny_folder):
    content = {
        "benchmark": {
            "arguments": {"pretrained": str(tiny_folder)},
            "device": "cpu",
            "methods": {"joint": {"model": "DualImageCLIP"}},
            "datasets": {"MVTecAD": {"arguments": {"root": str(mvtec_root)}, "categories": ["metal_nut"]}},
        },
        "tolerances": {"cpu": {"image_": 0.001, "pixel_": 0.001, "mean_score": 0.0001}},
    }
    path = tmp_path / "guard.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.slow
def test_recorded_figures_are_reproduced_and_a_changed_one_is_named(guard, capsys):
    assert main(["record", "--config", str(guard)]) == 0
    assert main(["check", "--config", str(guard)]) == 0
    recorded = guard.with_suffix(".json")
    content = json.loads(recorded.read_text(encoding="utf-8"))
    (numbers,) = content["numbers"].values()
    numbers["pixel_AUROC"] += 0.01
    recorded.write_text(json.dumps(content), encoding="utf-8")
    capsys.readouterr()
    assert main(["check", "--config", str(guard)]) == 1
    printed = capsys.readouterr().out
    assert "1 of 8 numbers moved" in printed
    assert "pixel_AUROC" in printed


def test_a_check_without_recorded_figures_is_refused(guard, capsys):
    assert main(["check", "--config", str(guard)]) == 2
    assert "regression record" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_reported(guard, capsys):
    guard.with_suffix(".json").mkdir()
    assert main(["record", "--config", str(guard)]) == 3
    said = capsys.readouterr().err
    assert said.startswith("dualclip: Cannot write")
    assert "Copy the YAML file to a folder of yours" in said


@pytest.mark.slow
def test_a_device_without_tolerances_is_reported(guard, capsys):
    content = yaml.safe_load(guard.read_text(encoding="utf-8"))
    guard.write_text(yaml.safe_dump(content | {"tolerances": {"cuda": {"image_": 1}}}), encoding="utf-8")
    assert main(["record", "--config", str(guard)]) == 0
    assert main(["check", "--config", str(guard)]) == 2
    assert "Add one under" in capsys.readouterr().err

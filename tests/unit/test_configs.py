from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

import dualclip_lightning
from dualclip_lightning.registry import MODELS

CONFIGS = Path(__file__).parents[2] / "configs" / "model"


def test_every_model_has_a_configuration():
    named = {yaml.safe_load(path.read_text())["model"]["class_path"] for path in CONFIGS.glob("*.yaml")}
    assert named == set(MODELS)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_states_every_parameter_at_its_default(path):
    model = yaml.safe_load(path.read_text())["model"]
    signature = inspect.signature(getattr(dualclip_lightning, model["class_path"]))
    assert model["init_args"] == {name: parameter.default for name, parameter in signature.parameters.items()}

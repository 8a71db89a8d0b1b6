from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path

import anomalib.models
import pytest
import yaml

import dualclip_lightning
from dualclip_lightning.adaptation import AdaptationSettings
from dualclip_lightning.backbone.encoders.layers import quarter_blocks, relative_blocks
from dualclip_lightning.benchmark.plan.config import load_config
from dualclip_lightning.registry import MODELS

CONFIGS = Path(__file__).parents[2] / "configs" / "model"


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["model"]


def parameters(name: str) -> dict:
    home = dualclip_lightning if name in MODELS else anomalib.models
    signature = inspect.signature(getattr(home, name))
    defaults = {parameter.name: parameter.default for parameter in signature.parameters.values()}
    return plain(defaults)


def plain(values: dict) -> dict:
    """Replace tuples by lists, as YAML has no tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


@pytest.mark.parametrize(("name", "home"), MODELS.items())
def test_every_model_has_a_configuration_that_states_every_parameter_at_its_default(name, home):
    model = read(CONFIGS / f"{home.rpartition('.')[2]}.yaml")
    assert model == {"class_path": name, "init_args": parameters(name)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_names_a_model_and_parameters_that_exist(path):
    model = read(path)
    assert model["class_path"] in {*MODELS, "Patchcore"}
    assert set(model["init_args"]) <= set(parameters(model["class_path"]))


def test_the_configuration_of_adaptation_states_every_setting_at_its_default():
    assert read(CONFIGS / "dual_image_clip_tta.yaml")["init_args"] == {"tta": plain(asdict(AdaptationSettings()))}


def test_the_configuration_of_layers_is_that_of_musc_with_four_references():
    arguments = read(CONFIGS / "dual_image_clip_layers.yaml")["init_args"]
    musc = parameters("MuSc")
    assert arguments["lowest"] == musc["lowest"]
    assert arguments["neighbourhood"] == musc["r"][:2]
    assert relative_blocks(12, arguments["reference_layers"]) == quarter_blocks(12)
    defaults = parameters("DualImageCLIP")
    assert {name for name, value in arguments.items() if value == defaults[name]} == {"lowest"}
    ablation = load_config(CONFIGS.parent / "benchmark" / "reference_ablation.yaml").methods["K = 4"].arguments
    assert {"lowest": defaults["lowest"], **ablation} == arguments


def test_the_configuration_of_the_stem_is_one_of_its_ablation():
    arguments = read(CONFIGS / "dual_image_clip_stem.yaml")["init_args"]
    ablation = load_config(CONFIGS.parent / "benchmark" / "reference_stem.yaml")
    own = ablation.arguments | ablation.methods["stem, K = 4"].arguments
    assert own | {"lowest": parameters("DualImageCLIP")["lowest"]} == arguments


def test_the_configuration_of_training_states_its_parameters_at_their_defaults():
    arguments = read(CONFIGS / "clip_ad_plus.yaml")["init_args"]
    assert arguments.pop("variant") == "sdp+"
    defaults = parameters("ClipAD")
    assert arguments == {name: defaults[name] for name in arguments}

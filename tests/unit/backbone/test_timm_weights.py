"""Names, weights and preprocessing of models of timm."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from dualclip_lightning.backbone import load_backbone
from dualclip_lightning.weights import WeightsError

NAME = "timm:test_vit"


def test_preprocessing_and_size_are_what_timm_states():
    loaded = load_backbone(NAME, "random")
    stated = timm.data.resolve_model_data_config(timm.create_model("test_vit"))
    assert loaded.preprocessing.mean == stated["mean"]
    assert loaded.preprocessing.std == stated["std"]
    assert loaded.preprocessing.interpolation == stated["interpolation"]
    assert loaded.preprocessing.size == stated["input_size"][1:]


def test_random_weights_depend_on_the_seed_and_do_not_change_the_callers_generator():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    digests = [load_backbone(NAME, "random", seed=seed).digest for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(1), expected)
    assert digests[0] == digests[1] != digests[2]


def test_a_file_of_weights_is_read(tmp_path):
    torch.manual_seed(1)
    theirs = timm.create_model("test_vit", num_classes=0)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    loaded = load_backbone(NAME, str(tmp_path / "w.safetensors"))
    for name, value in theirs.state_dict().items():
        assert torch.equal(loaded.visual.model.state_dict()[name], value), name
    assert (loaded.name, loaded.weights) == (NAME, str(tmp_path / "w.safetensors"))
    assert not any(parameter.requires_grad for parameter in loaded.visual.parameters())


def test_a_folder_in_the_layout_of_the_hub_is_read_with_its_preprocessing(tmp_path):
    torch.manual_seed(2)
    theirs = timm.create_model("test_vit", num_classes=0)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    stated = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 96, 96], "num_classes": 0}
    config = {"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": stated}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_backbone(f"timm:local-dir:{tmp_path}")
    assert torch.equal(loaded.visual.model.patch_embed.proj.weight, theirs.patch_embed.proj.weight)
    assert loaded.preprocessing.mean == (0.1, 0.2, 0.3)
    assert loaded.preprocessing.size == (96, 96)


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_file({"cls_token": torch.zeros(1, 1, 7)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"Cannot load the weights of 'timm:test_vit'.*file of weights"):
        load_backbone(NAME, str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("name", [NAME, "timm:test_vit.r160_in1k", "timm:hf-hub:timm/test_vit.r160_in1k"])
def test_weights_that_cannot_be_downloaded_are_named_with_the_remedy(name):
    with pytest.raises(WeightsError, match=r"timm/test_vit.r160_in1k.*download the file on another"):
        load_backbone(name)


@pytest.mark.parametrize(
    ("name", "weights", "words"),
    [
        ("timm:test_vitt", "random", "Did you mean test_vit"),
        (NAME, "lvd142m", "Its tags are: r160_in1k"),
        ("timm:hf-hub:timm/test_vit.r160_in1k", "demo", "brings its own weights"),
        ("timm:local-dir:/nowhere", "demo", "brings its own weights"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(name, weights, words):
    with pytest.raises(ValueError, match=words):
        load_backbone(name, weights)

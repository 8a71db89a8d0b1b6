from __future__ import annotations

import hashlib
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from dualclip_lightning.backbone import load_backbone
from dualclip_lightning.backbone.checkpoints.choosing import choose
from dualclip_lightning.backbone.encoders import unsupported
from tests.towers import CONFIG, tiny_clip

ARCHITECTURE = "test-ViT-tiny-16"


@pytest.fixture(autouse=True)
def _small_architectures(monkeypatch):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, CONFIG)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"{ARCHITECTURE}-quickgelu", CONFIG | {"quick_gelu": True})


@pytest.fixture
def file(tmp_path):
    """Function that writes the weights of a tiny CLIP under a name."""

    def write(name):
        save_file(tiny_clip().state_dict(), tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("given", ["ViT-B-16", "ViT-B-16-quickgelu"])
def test_weights_trained_with_quickgelu_get_the_architecture_that_has_it(given):
    assert choose(given, "openai") == ("ViT-B-16-quickgelu", "openai")


def test_every_accepted_tag_gets_an_architecture_with_its_activation(monkeypatch):
    monkeypatch.setattr(unsupported, "_timm_lacks", lambda name: f"{name} is of timm")  # which builds it to say why
    refused = set()
    for backbone, tag in open_clip.list_pretrained():
        try:
            chosen, _ = choose(backbone, tag)
        except ValueError as error:
            refused |= set() if "cannot be used" in str(error) else {backbone}
            continue
        stated = open_clip.get_pretrained_cfg(chosen, tag)
        assert open_clip.get_model_config(chosen).get("quick_gelu", False) == stated.get("quick_gelu", False)
    assert refused == {"roberta-ViT-B-32"}  # open_clip's table and configuration disagree


def test_a_table_that_disagrees_with_its_architecture_is_refused_with_the_repository_that_knows():
    with pytest.raises(ValueError, match="hf-hub:laion/CLIP-ViT-B-32-roberta-base"):
        choose("roberta-ViT-B-32", "laion2b_s12b_b32k")


def test_random_weights_have_the_architecture_that_was_named():
    assert choose("ViT-B-16", "random") == ("ViT-B-16", "random")


@pytest.mark.parametrize("pretrained", ["demo", "folder"])
def test_an_unknown_backbone_is_refused_beside_weights_that_bring_their_own(tiny_folder, pretrained):
    with pytest.raises(ValueError, match=r"Unknown backbone 'ViT-B-17'.*Did you mean"):
        choose("ViT-B-17", {"demo": "demo", "folder": str(tiny_folder)}[pretrained])


def test_a_known_backbone_that_is_not_used_is_named(caplog):
    backbone = load_backbone("ViT-L-14", "demo")
    assert "'ViT-L-14' is not used: the weights 'demo' bring their architecture" in caplog.text
    assert backbone.name == "demo"


@pytest.mark.parametrize("name", ["ViT-B-16.pt", "b16_400m.pt", "my-QuickGELU.safetensors", "tiny_quick_gelu.bin"])
def test_a_file_called_like_weights_of_the_other_activation_is_refused(file, tmp_path, name):
    path = tmp_path / name
    file("weights.safetensors").rename(path)
    with pytest.raises(ValueError, match=rf"{name}' is called like .*'{ARCHITECTURE}-quickgelu', or .* another name"):
        load_backbone(ARCHITECTURE, str(path), preprocessing="openai")


def test_a_file_called_like_weights_of_its_activation_loads(file, caplog):
    path = file("my-quickgelu.safetensors")
    assert load_backbone(f"{ARCHITECTURE}-quickgelu", str(path), preprocessing="openai").clip
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_file_with_the_content_of_published_weights_is_known_under_any_name(tmp_path, monkeypatch):
    torch.save(tiny_clip().state_dict(), tmp_path / "renamed.pt")
    digest = hashlib.sha256((tmp_path / "renamed.pt").read_bytes()).hexdigest()
    entry = {"hf_hub": "", "url": f"http://host/tiny-{digest[:8]}.pt", "quick_gelu": True}
    entry |= {"mean": (0.5,) * 3, "std": (0.4,) * 3}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, f"{ARCHITECTURE}-quickgelu", {"grey": entry})
    with pytest.raises(ValueError, match=rf"renamed\.pt' is the weights 'grey'.*'{ARCHITECTURE}-quickgelu'\.$"):
        load_backbone(ARCHITECTURE, str(tmp_path / "renamed.pt"))
    loaded = load_backbone(f"{ARCHITECTURE}-quickgelu", str(tmp_path / "renamed.pt"))
    assert loaded.preprocessing.mean == (0.5,) * 3


def test_a_file_of_unknown_activation_gives_a_warning_that_names_the_alternative(file, caplog):
    load_backbone(ARCHITECTURE, str(file("mine.safetensors")), preprocessing="openai")
    assert f"does not say with which activation it was trained; backbone '{ARCHITECTURE}' means GELU" in caplog.text
    assert f"set backbone (--backbone) to '{ARCHITECTURE}-quickgelu'" in caplog.text

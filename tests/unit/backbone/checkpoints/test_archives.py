from __future__ import annotations

import re
from copy import deepcopy

import open_clip
import pytest
import torch
from torch import nn

from dualclip_lightning.backbone import WeightsError, load_backbone
from tests.towers import CONFIG, random_images

ARCHITECTURE = "test-ViT-small-16"
TOKENS = open_clip.tokenize(["a photo of wood", "a photo of a scratched metal nut"])


@pytest.fixture
def config():
    """Configuration with heads of 64 channels, like all of OpenAI's transformers."""
    config = deepcopy(CONFIG)
    config["vision_cfg"] |= {"width": 128, "head_width": 64, "layers": 2}
    config["text_cfg"] |= {"width": 64, "heads": 1}
    return config


@pytest.fixture
def archive(tmp_path, config):
    """Function that writes a TorchScript archive of a CLIP with random weights.

    `marks` adds the three numbers that the archives of OpenAI contain.
    """

    def write(*, quick=True, marks=True, seed=0):
        torch.manual_seed(seed)
        clip = open_clip.CLIP(**config, quick_gelu=quick).eval()
        traced = torch.jit.trace(Joint(clip, marks=marks), (random_images(2), TOKENS), check_trace=False)
        path = tmp_path / "clip.pt"
        torch.jit.save(traced, path)
        return path, clip

    return write


class Joint(nn.Module):
    """A CLIP in the form in which OpenAI's are saved: its layers under their own names, and three numbers."""

    def __init__(self, clip, *, marks):
        super().__init__()
        for name, child in clip.named_children():
            self.add_module(name, child)
        for name, parameter in clip.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        if marks:
            for name, number in [("input_resolution", 48), ("context_length", 77), ("vocab_size", 49408)]:
                self.register_buffer(name, torch.tensor(number))
        self._whole = [clip]

    def forward(self, images, tokens):
        clip = self._whole[0]
        visual, text = self.visual(images), clip.encode_text(tokens)
        return visual, text


def assert_encodes_as(backbone, clip):
    images = random_images(2)
    torch.testing.assert_close(backbone.clip.encode_image(images), clip.encode_image(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(backbone.clip.encode_text(TOKENS), clip.encode_text(TOKENS), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["ViT-B-16-plus-240", ARCHITECTURE, f"{ARCHITECTURE}-quickgelu"])
def test_an_archive_loads_as_open_clips_loader_does(archive, config, monkeypatch, backbone):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, config)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"{ARCHITECTURE}-quickgelu", config | {"quick_gelu": True})
    path, clip = archive()
    loaded = load_backbone(backbone, str(path))
    assert_encodes_as(loaded, clip)
    assert loaded.name == f"{ARCHITECTURE}-quickgelu"
    assert loaded.preprocessing.mean == open_clip.OPENAI_DATASET_MEAN
    half = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")  # rounds to half precision
    images = random_images(2)
    torch.testing.assert_close(loaded.clip.encode_image(images), half.encode_image(images), atol=5e-3, rtol=0)


@pytest.mark.slow
def test_an_architecture_that_open_clip_does_not_list_loads_too(archive):
    path, clip = archive()
    loaded = load_backbone(pretrained=str(path))
    assert_encodes_as(loaded, clip)
    assert loaded.name == "TorchScript archive"
    assert loaded.origin == {"path": str(path)}


@pytest.mark.slow
def test_a_backbone_that_an_archive_does_not_use_is_named(archive, caplog):
    load_backbone("ViT-L-14", str(archive()[0]))
    assert re.search(r"'ViT-L-14' is not used: '.*clip\.pt' brings its architecture", caplog.text)


@pytest.mark.slow
def test_an_archive_of_a_model_with_gelu_keeps_its_activation(archive):
    path, clip = archive(quick=False, marks=False)
    assert_encodes_as(load_backbone(pretrained=str(path), preprocessing="imagenet"), clip)
    with pytest.raises(ValueError, match="do not say how images were prepared"):
        load_backbone(pretrained=str(path))


@pytest.mark.slow
def test_a_state_dict_saved_from_an_archive_is_recognised_as_openais(archive, tmp_path):
    path, clip = archive()
    torch.save(torch.jit.load(path).state_dict(), tmp_path / "state.pt")
    assert_encodes_as(load_backbone(pretrained=str(tmp_path / "state.pt")), clip)


def test_an_archive_of_something_else_is_an_error(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "linear.pt")
    with pytest.raises(WeightsError, match=r"linear\.pt' is no CLIP with a vision transformer.*visual\.conv1\.weight"):
        load_backbone(pretrained=str(tmp_path / "linear.pt"), preprocessing="openai")


def test_a_damaged_archive_is_an_error(archive, monkeypatch):
    path, _ = archive()

    def broken(*_, **__):
        raise RuntimeError("PytorchStreamReader failed\nand more")

    monkeypatch.setattr(torch.jit, "load", broken)
    with pytest.raises(WeightsError, match=r"TorchScript archive '.*clip\.pt'.*file is complete") as caught:
        load_backbone(pretrained=str(path))
    assert "\n" not in str(caught.value)

from __future__ import annotations

import json
import os
import pickle
from copy import deepcopy
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from dualclip_lightning.backbone import WeightsError, load_backbone
from dualclip_lightning.backbone.loading import DEMO_FOLDER
from dualclip_lightning.backbone.preprocessing import PRESETS
from tests.towers import CONFIG, PREPROCESS, SIZE, random_images, save_folder, tiny_backbone, tiny_clip

ARCHITECTURE = "test-ViT-tiny-16"


@pytest.fixture(autouse=True)
def _small_architectures(monkeypatch):
    """Two architectures among those that open_clip lists: the tiny one, and one that another file would not fit."""
    wider = deepcopy(CONFIG)
    wider["vision_cfg"]["width"] = 64
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, CONFIG)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "test-ViT-wide-16", wider)


@pytest.fixture
def no_download(monkeypatch):
    def download(*args, **kwargs):
        pytest.fail(f"tried to download {args}")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(tiny_clip().state_dict(), path)
    return path


def assert_same_weights(model, other):
    assert model.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_random_weights_depend_on_the_seed_alone_and_leave_the_global_generator(caplog):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = load_backbone(ARCHITECTURE, "random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert "mean nothing" in caplog.text
    torch.manual_seed(8)
    assert_same_weights(load_backbone(ARCHITECTURE, "random", seed=3).clip, first.clip)
    assert load_backbone(ARCHITECTURE, "random", seed=4).digest != first.digest
    assert first.preprocessing.mean == PRESETS["openai"]["mean"]


def test_loading_leaves_the_global_generator_alone(tiny_folder):
    before = torch.get_rng_state()
    load_backbone(pretrained=str(tiny_folder))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_text_tower_that_needs_a_missing_package_is_an_error_that_says_so(monkeypatch):
    foreign = CONFIG | {"text_cfg": {"hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base"}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, foreign)
    monkeypatch.setattr(open_clip.hf_model, "transformers", None)
    with pytest.raises(WeightsError, match=rf"{ARCHITECTURE}.*transformers"):
        load_backbone(ARCHITECTURE, "random")


def test_a_backbone_is_frozen_and_in_evaluation_mode(tiny_folder):
    clip = load_backbone(pretrained=str(tiny_folder)).clip
    assert not any(module.training for module in clip.modules())
    assert not any(parameter.requires_grad for parameter in clip.parameters())


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_of_weights_gives_the_model_it_was_saved_from(tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    save_file(tiny_clip().state_dict(), path) if suffix == "safetensors" else torch.save(tiny_clip().state_dict(), path)
    backbone = load_backbone(ARCHITECTURE, str(path), preprocessing="openai")
    assert_same_weights(backbone.clip, tiny_clip())
    assert torch.equal(backbone.clip.encode_image(random_images(1)), tiny_clip().encode_image(random_images(1)))
    assert backbone.preprocessing == tiny_backbone().preprocessing
    assert (backbone.name, backbone.weights) == (ARCHITECTURE, str(path))


def test_a_file_below_the_home_folder_may_be_given_with_a_tilde(weights, monkeypatch):
    monkeypatch.setenv("HOME", str(weights.parent))
    assert_same_weights(load_backbone(ARCHITECTURE, f"~/{weights.name}", preprocessing="openai").clip, tiny_clip())


def test_a_raw_file_of_weights_needs_preprocessing_said(weights):
    with pytest.raises(ValueError, match=r"weights\.safetensors.*do not say.*preprocessing='openai'"):
        load_backbone(ARCHITECTURE, str(weights))


@pytest.mark.parametrize("form", ["path", "local-dir as weights", "local-dir as backbone", "tilde"])
def test_a_folder_brings_its_architecture_weights_and_preprocessing(tiny_folder, form, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_folder.parent))
    arguments = {
        "path": {"pretrained": str(tiny_folder)},
        "local-dir as weights": {"pretrained": f"local-dir:{tiny_folder}"},
        "local-dir as backbone": {"backbone": f"local-dir:{tiny_folder}"},
        "tilde": {"pretrained": f"~/{tiny_folder.name}"},
    }[form]
    backbone = load_backbone(**arguments)
    assert_same_weights(backbone.clip, tiny_clip())
    assert list(backbone.preprocessing.mean) == PREPROCESS["mean"]
    assert list(backbone.preprocessing.std) == PREPROCESS["std"]
    assert backbone.preprocessing.size == (SIZE, SIZE)
    assert backbone.tokenizer(["wood"]).shape == (1, 77)


def test_a_folder_without_preprocessing_needs_it_said(tmp_path):
    save_folder(tiny_clip(), tmp_path, preprocess=None)
    with pytest.raises(ValueError, match=r"do not say.*preprocessing='openai'"):
        load_backbone(pretrained=str(tmp_path))
    assert load_backbone(pretrained=str(tmp_path), preprocessing="imagenet").preprocessing.mean[0] == 0.485


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", "{}", '{"model_cfg": {}}'])
def test_a_folder_with_a_bad_or_no_config_is_an_error_that_names_it(tmp_path, content):
    if content is not None:
        (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(WeightsError, match=tmp_path.name):
        load_backbone(pretrained=str(tmp_path), preprocessing="openai")


def test_a_folder_without_weights_is_an_error_that_names_it(tmp_path):
    content = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=tmp_path.name):
        load_backbone(pretrained=str(tmp_path))


class Trap:
    """A pickle that would make a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickled_file_is_not_run(tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps({"visual.proj": Trap(trap)}))
    with pytest.raises(WeightsError, match=r"weights\.pt.*complete"):
        load_backbone(ARCHITECTURE, str(path), preprocessing="openai")
    torch.save({"visual.proj": Trap(trap)}, path)
    with pytest.raises(WeightsError, match=r"weights\.pt.*complete"):
        load_backbone(ARCHITECTURE, str(path), preprocessing="openai")
    assert not trap.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.bin", "weights"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", os.urandom(64)], ids=["empty", "text", "bytes"])
def test_a_file_that_holds_no_weights_is_an_error_with_a_remedy(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name}.*file is complete"):
        load_backbone(ARCHITECTURE, str(tmp_path / name), preprocessing="openai")


def test_a_truncated_file_is_an_error_with_a_remedy(weights):
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="file is complete"):
        load_backbone(ARCHITECTURE, str(weights), preprocessing="openai")


def test_the_file_of_another_architecture_is_an_error_that_says_so(weights):
    with pytest.raises(WeightsError, match="`backbone` names the architecture"):
        load_backbone("test-ViT-wide-16", str(weights), preprocessing="openai")


@pytest.mark.parametrize(
    ("wrong", "near"), [("ViT-B-16-plus-24", "ViT-B-16-plus-240"), ("vit-b-16", "ViT-B-16"), ("ViTB16", "ViT-B-16")]
)
def test_an_unknown_backbone_is_an_error_that_names_near_ones(no_download, wrong, near):
    with pytest.raises(ValueError, match=rf"'{wrong}'.*Did you mean.*{near}"):
        load_backbone(wrong)


def test_an_unknown_tag_is_an_error_that_lists_those_there_are(no_download):
    with pytest.raises(ValueError, match=r"'laion5b'.*laion400m_e31, laion400m_e32"):
        load_backbone("ViT-B-16-plus-240", "laion5b")


@pytest.mark.parametrize("path", ["weights/clip.pt", "clip.safetensors"])
def test_a_path_to_nothing_is_an_error_about_the_path(no_download, path):
    with pytest.raises(WeightsError, match=rf"no weights file or folder '{path}'"):
        load_backbone("ViT-B-16-plus-240", path)


@pytest.mark.parametrize(
    ("backbone", "tag"),
    [("RN50", "openai"), ("RN50x4", "random"), ("convnext_base", "laion400m_s13b_b51k"), ("ViT-B-16-SigLIP", "webli")],
)
def test_an_architecture_without_a_plain_transformer_is_refused_before_any_download(no_download, backbone, tag):
    with pytest.raises(ValueError, match=rf"'{backbone}' has no plain vision transformer.*ViT-B-16-plus-240"):
        load_backbone(backbone, tag)


def no_network(*args, **kwargs):
    raise OSError("name or service not known\nand a second line")


def test_a_folder_without_a_plain_transformer_is_refused_before_its_weights_are_read(tmp_path):
    config = CONFIG | {"vision_cfg": {"timm_model_name": "resnet18", "image_size": SIZE}}
    save_folder(tiny_clip(), tmp_path, config=config)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"never read")
    with pytest.raises(ValueError, match="has no plain vision transformer"):
        load_backbone(pretrained=str(tmp_path))


@pytest.mark.parametrize(
    ("backbone", "other"), [("ViT-B-16", "ViT-B-16-quickgelu"), ("ViT-L-14", "ViT-L-14-quickgelu")]
)
def test_weights_of_the_other_activation_are_refused_with_the_right_architecture(no_download, backbone, other):
    with pytest.raises(ValueError, match=f"Set backbone='{other}'"):
        load_backbone(backbone, "openai")


def test_weights_that_cannot_be_downloaded_are_an_error_with_a_remedy(monkeypatch):
    monkeypatch.setattr(open_clip.factory, "download_pretrained", no_network)
    with pytest.raises(WeightsError, match=r"laion400m_e32.*not known.*no network.*`pretrained`.*'demo'") as caught:
        load_backbone()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argument", ["backbone", "pretrained"])
def test_a_hub_name_that_cannot_be_reached_is_an_error_with_a_remedy(monkeypatch, argument):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    with pytest.raises(WeightsError, match=r"hf-hub:someone/clip.*not known.*no network.*'demo'"):
        load_backbone(**{argument: "hf-hub:someone/clip"})


def test_a_known_tag_is_fitted_into_its_architecture_with_its_own_preprocessing(monkeypatch, weights):
    tags = {"grey": {"url": "", "hf_hub": "", "mean": (0.5, 0.5, 0.5), "std": (0.4, 0.4, 0.4)}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, tags)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: str(weights))
    backbone = load_backbone(ARCHITECTURE, "grey")
    assert_same_weights(backbone.clip, tiny_clip())
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.5,) * 3, (0.4,) * 3)


def test_a_tag_means_the_tag_although_a_folder_has_its_name(monkeypatch, tmp_path, weights):
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"openai": {"url": ""}})
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: str(weights))
    (tmp_path / "openai").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_same_weights(load_backbone(ARCHITECTURE, "openai").clip, tiny_clip())


def test_the_digest_is_that_of_all_weights():
    same = tiny_backbone().digest
    assert same == tiny_backbone().digest
    assert len(same) == 64
    for name in ("visual.proj", "token_embedding.weight", "logit_scale"):
        other = tiny_backbone()
        with torch.no_grad():
            other.clip.get_parameter(name).view(-1)[-1].add_(1e-3)
        assert other.digest != same


def test_the_digest_tells_apart_models_that_differ_in_their_activation_alone(tmp_path):
    quick = CONFIG | {"quick_gelu": True}
    save_folder(tiny_clip(), tmp_path, config=quick)
    plain, other = tiny_backbone(), load_backbone(pretrained=str(tmp_path))
    assert_same_weights(plain.clip, other.clip)
    assert not torch.allclose(plain.encode_text(["wood"]), other.encode_text(["wood"]), atol=1e-4)
    assert plain.digest != other.digest


def test_text_is_encoded_by_the_models_own_tower(tiny_folder):
    backbone = load_backbone(pretrained=str(tiny_folder))
    expected = backbone.clip.encode_text(backbone.tokenizer(["a photo of wood"]))
    torch.testing.assert_close(backbone.encode_text(["a photo of wood"]), expected, atol=5e-6, rtol=0)


def test_the_demo_model_brings_everything_and_needs_no_network(no_download):
    backbone = load_backbone("ViT-B-16-plus-240", "demo")
    visual = backbone.clip.visual
    assert backbone.name == "demo"
    assert backbone.preprocessing.size == tuple(visual.image_size)
    assert min(visual.grid_size) >= 14
    images = random_images(1, *visual.image_size)
    assert backbone.clip.encode_image(images).shape[-1] == backbone.encode_text(["wood"]).shape[-1]


def test_the_demo_model_takes_at_most_15_megabytes():
    assert sum(path.stat().st_size for path in DEMO_FOLDER.iterdir()) < 15_000_000

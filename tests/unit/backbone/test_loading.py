from __future__ import annotations

import hashlib
import json
import os
import pickle
from copy import deepcopy
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from dualclip_lightning.backbone import WeightsError, load_backbone
from dualclip_lightning.backbone.checkpoints import locating
from dualclip_lightning.backbone.preprocessing import PRESETS
from tests.towers import CONFIG, PREPROCESS, SIZE, random_images, save_folder, tiny_backbone, tiny_clip
from tests.web import REVISION

ARCHITECTURE = "test-ViT-tiny-16"


@pytest.fixture(autouse=True)
def _small_architectures(monkeypatch):
    """Add two architectures to those of open_clip: the tiny one, and a wider one that its weights do not fit."""
    wider = deepcopy(CONFIG)
    wider["vision_cfg"]["width"] = 64
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, CONFIG)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "test-ViT-wide-16", wider)


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.setattr(locating, "fetch", lambda source: pytest.fail(f"tried to download {source}"))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(tiny_clip().state_dict(), path)
    return path


def assert_same_weights(model, other):
    assert model.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_random_weights_depend_only_on_the_seed_and_keep_the_global_generator(caplog):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = load_backbone(ARCHITECTURE, "random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert "mean nothing" in caplog.text
    torch.manual_seed(8)
    assert_same_weights(load_backbone(ARCHITECTURE, "random", seed=3).clip, first.clip)
    assert load_backbone(ARCHITECTURE, "random", seed=4).digest != first.digest
    assert first.preprocessing.mean == PRESETS["openai"]["mean"]


def test_loading_does_not_change_the_global_generator(tiny_folder):
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


def test_a_raw_file_of_weights_needs_explicit_preprocessing(weights):
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


def test_a_folder_without_preprocessing_needs_it_explicitly(tmp_path):
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
    """A pickle that would create a file if it were loaded."""

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


def test_a_folder_without_a_plain_transformer_is_refused_before_its_weights_are_read(tmp_path):
    config = CONFIG | {"vision_cfg": {"timm_model_name": "resnet18", "image_size": SIZE}}
    save_folder(tiny_clip(), tmp_path, config=config)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"never read")
    with pytest.raises(ValueError, match=r"timm's ResNet \(resnet18\), is no plain vision transformer"):
        load_backbone(pretrained=str(tmp_path))


@pytest.mark.parametrize("argument", ["backbone", "pretrained"])
def test_a_hub_name_that_cannot_be_reached_is_an_error_with_a_remedy(unreachable_hub, argument):
    with pytest.raises(
        WeightsError, match=rf"open_clip_config.json of {unreachable_hub}/someone/clip.*--pretrained.*'demo'"
    ):
        load_backbone(**{argument: "hf-hub:someone/clip"})


def test_weights_that_cannot_be_downloaded_are_an_error_with_a_remedy(unreachable_hub):
    with pytest.raises(WeightsError) as caught:
        load_backbone("ViT-B-16-plus-240", "laion400m_e31")
    message = str(caught.value)
    assert f"open_clip_model.safetensors or open_clip_pytorch_model.bin of {unreachable_hub}/timm/vit_base" in message
    assert "`dualclip weights download ViT-B-16-plus-240 laion400m_e31 --to FOLDER`" in message
    assert "(--pretrained) to the file and `preprocessing` (--preprocessing) to 'openai'" in message
    assert "\n" not in message


def grey(web, repository="someone/tiny"):
    """Return an entry of open_clip's table for weights with their own preprocessing."""
    return {"hf_hub": f"{repository}/", "url": "", "mean": (0.5, 0.5, 0.5), "std": (0.4, 0.4, 0.4)}


def test_a_known_tag_is_loaded_into_its_architecture_with_its_own_preprocessing(monkeypatch, weights, web):
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"grey": grey(web)})
    web.add_to_hub("someone/tiny", "open_clip_model.safetensors", weights.read_bytes())
    backbone = load_backbone(ARCHITECTURE, "grey")
    assert_same_weights(backbone.clip, tiny_clip())
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.5,) * 3, (0.4,) * 3)
    assert (backbone.name, backbone.weights) == (ARCHITECTURE, "grey")
    assert backbone.origin == {
        "repository": "someone/tiny", "file": "open_clip_model.safetensors", "revision": REVISION,
    }  # fmt: skip


def test_a_tag_listed_with_the_repository_of_another_is_taken_from_its_url(monkeypatch, tmp_path, web):
    """Reproduce the case of `laion400m_e32` in open_clip 3.3 with a local server."""
    for tag, seed in [("laion400m_e31", 1), ("laion400m_e32", 2)]:
        torch.save(tiny_clip(seed).state_dict(), tmp_path / tag)
    content = (tmp_path / "laion400m_e32").read_bytes()
    name = f"tiny-laion400m_e32-{hashlib.sha256(content).hexdigest()[:8]}.pt"
    web.files[f"/{name}"] = content
    web.add_to_hub(
        "someone/tiny.laion400m_e31", "open_clip_pytorch_model.bin", (tmp_path / "laion400m_e31").read_bytes()
    )
    entry = grey(web, "someone/tiny.laion400m_e31")
    tags = {"laion400m_e31": entry, "laion400m_e32": entry | {"url": f"{web.address}/{name}"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, tags)
    first, second = (load_backbone(ARCHITECTURE, tag) for tag in tags)
    assert_same_weights(first.clip, tiny_clip(1))
    assert_same_weights(second.clip, tiny_clip(2))
    assert first.origin["repository"] == "someone/tiny.laion400m_e31"
    assert second.origin == {"url": f"{web.address}/{name}"}


def test_a_repository_brings_everything_and_is_not_asked_again(web, tiny_folder):
    for path in tiny_folder.iterdir():
        web.add_to_hub("someone/tiny", path.name, path.read_bytes())
    backbone = load_backbone("hf-hub:someone/tiny")
    assert_same_weights(backbone.clip, tiny_clip())
    assert list(backbone.preprocessing.mean) == PREPROCESS["mean"]
    assert backbone.name == backbone.weights == "hf-hub:someone/tiny"
    assert backbone.origin == {
        "repository": "someone/tiny", "file": "open_clip_model.safetensors", "revision": REVISION,
    }  # fmt: skip
    web.files.clear()
    web.asked.clear()
    assert load_backbone(pretrained="hf-hub:someone/tiny").digest == backbone.digest
    assert web.asked == []


def test_a_tag_means_the_tag_although_a_folder_has_its_name(monkeypatch, tmp_path, weights, web):
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"grey": grey(web)})
    web.add_to_hub("someone/tiny", "open_clip_model.safetensors", weights.read_bytes())
    (tmp_path / "grey").mkdir()
    monkeypatch.chdir(tmp_path)
    assert_same_weights(load_backbone(ARCHITECTURE, "grey").clip, tiny_clip())


def test_the_digest_is_that_of_all_weights():
    same = tiny_backbone().digest
    assert same == tiny_backbone().digest
    assert len(same) == 64
    for name in ("visual.proj", "token_embedding.weight", "logit_scale"):
        other = tiny_backbone()
        with torch.no_grad():
            other.clip.get_parameter(name).view(-1)[-1].add_(1e-3)
        assert other.digest != same


def test_the_digest_distinguishes_models_that_differ_only_in_activation(tmp_path):
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

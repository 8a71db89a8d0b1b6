"""Dual-Image CLIP with test-time adaptation: the combination of its parts."""

from __future__ import annotations

import pytest
import torch

from dualclip_lightning.adaptation import (
    AdaptationInputs,
    AdaptationSettings,
    TestTimeAdaptation,
    adapt_to_pseudo_anomalies,
    patch_targets,
)
from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.models import DualImageCLIPModel
from tests.towers import DIM, random_images, tower

MEAN, STD = PRESETS["openai"]["mean"], PRESETS["openai"]["std"]


def _model(settings=None, **arguments):
    adaptation = None if settings is None else TestTimeAdaptation(settings, MEAN, STD, seed=3)
    model = DualImageCLIPModel(DualPathVisionEncoder(tower()), adaptation=adaptation, **arguments).eval()
    model.anchors = torch.randn(2, DIM, generator=torch.Generator().manual_seed(0))
    return model


@torch.inference_mode()
def test_zero_steps_give_exactly_the_method_without_adaptation():
    images = random_images(4)
    for found, expected in zip(_model(AdaptationSettings(steps=0))(images), _model()(images), strict=True):
        assert found is expected is None or torch.equal(found, expected)


@torch.inference_mode()
def test_map_and_score_are_equations_12_and_13():
    images, names = random_images(4), [f"d/{i}.png" for i in range(4)]
    references = torch.tensor([[1], [0], [3], [2]])
    settings = AdaptationSettings(map_weight=0.3, patch_share=0.2)
    model, plain = _model(settings, class_weight=0.25), _model(class_weight=0.0)
    found = model.predict_patches(images, references, names)
    joint = plain.predict_patches(images, references, names)
    class_score = _model(class_weight=1.0).predict_patches(images, references, names).scores

    pseudo = model.scoring.adaptation.corrupt(images, names)
    patches = model.encoder(images).patch_embeddings
    copies = model.encoder(pseudo.images).patch_embeddings
    targets = patch_targets(pseudo.masks, (3, 3), 0.2)
    inputs = AdaptationInputs(patches, copies, targets, joint.maps, model.anchors, model.scoring.temperature)
    adapted, _ = adapt_to_pseudo_anomalies(inputs, settings)
    final = 0.3 * adapted + 0.7 * joint.maps
    assert torch.allclose(found.maps, final, atol=1e-6)
    assert torch.allclose(found.scores, 0.25 * class_score + 0.75 * final.flatten(1).amax(1), atol=1e-6)
    assert not torch.allclose(found.maps, joint.maps, atol=1e-4)


@torch.inference_mode()
def test_given_the_same_reference_an_image_has_the_same_score_alone_or_in_any_batch():
    model = _model(AdaptationSettings())
    images, names = random_images(6), [f"d/{i}.png" for i in range(6)]
    references = torch.tensor([[1], [0], [3], [2], [5], [4]])
    together = model.predict_patches(images, references, names)
    pair = model.predict_patches(images[2:4], references[:2], names[2:4])
    assert torch.allclose(pair.scores, together.scores[2:4], atol=1e-5)
    assert torch.allclose(pair.maps, together.maps[2:4], atol=1e-5)


@torch.inference_mode()
def test_the_pseudo_anomaly_comes_from_the_name_and_without_one_from_the_pixels():
    model, images = _model(AdaptationSettings()), random_images(3)
    moved = model.scoring.adaptation.corrupt(images, ["elsewhere/d/0.png", "d/1.png", "d/2.png"])
    named = model.scoring.adaptation.corrupt(images, [f"d/{i}.png" for i in range(3)])
    assert torch.equal(moved.masks, named.masks)
    unnamed = model.scoring.adaptation.corrupt(images)
    assert torch.equal(unnamed.masks[1:2], model.scoring.adaptation.corrupt(images[1:2]).masks)
    assert not torch.equal(unnamed.masks, named.masks)


def test_another_seed_gives_other_pseudo_anomalies():
    images = random_images(2)
    masks = [TestTimeAdaptation(AdaptationSettings(), MEAN, STD, seed).corrupt(images, "ab").masks for seed in (0, 1)]
    assert not torch.equal(*masks)


def test_the_switch_takes_the_defaults_or_some_settings():
    assert AdaptationSettings.from_choice(False) is None
    assert AdaptationSettings.from_choice(True) == AdaptationSettings()
    assert AdaptationSettings.from_choice({"steps": 4, "opacity": [0.1, 0.2]}) == AdaptationSettings(
        steps=4, opacity=(0.1, 0.2)
    )


def test_an_unknown_setting_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"Unknown setting\(s\) of tta: step\. Expected some of steps, learning_rate"):
        AdaptationSettings.from_choice({"step": 2})

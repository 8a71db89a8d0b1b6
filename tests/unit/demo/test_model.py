from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from open_clip import CLIP
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from dualclip_lightning.backbone import DualPathVisionEncoder, load_backbone
from dualclip_lightning.backbone.checkpoints.locating import CONFIG_FILE
from dualclip_lightning.backbone.stem import add_stem
from dualclip_lightning.demo.data.assets import MATERIALS
from dualclip_lightning.demo.data.samples import make_category
from dualclip_lightning.prompts import prompt_ensemble, text_anchors
from dualclip_lightning.scoring import draw, image_score, joint_score, reference_score, text_score

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def backbone(embedded_model):
    return load_backbone(pretrained="demo")


def test_the_folder_takes_at_most_15_megabytes(embedded_model):
    assert 1_000_000 < sum(path.stat().st_size for path in embedded_model.iterdir()) < 15_000_000


def test_the_weights_are_half_precision(embedded_model):
    tensors = load_file(embedded_model / WEIGHTS).values()
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float16}


def test_the_weights_fit_the_configuration_name_by_name(backbone, embedded_model):
    config = json.loads((embedded_model / CONFIG_FILE).read_text())
    clip = add_stem(CLIP(**config["model_cfg"]), config["stem_cfg"])
    clip.load_state_dict(load_file(embedded_model / WEIGHTS), strict=True)
    loaded = backbone.clip.state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in clip.state_dict().items())


def test_a_result_says_that_its_weights_are_those_of_the_package(backbone):
    assert (backbone.weights, backbone.origin) == ("demo", {"path": "dualclip_lightning/demo/model"})


def test_it_works_in_single_precision_on_240_pixels_and_15_by_15_patches(backbone):
    assert backbone.preprocessing.size == (240, 240)
    assert {parameter.dtype for parameter in backbone.clip.parameters()} == {torch.float32}
    features = DualPathVisionEncoder(backbone.clip.visual)(torch.zeros(1, 3, 240, 240))
    assert features.patch_embeddings.shape == (1, 15, 15, 256)


@pytest.mark.slow
def test_the_state_words_are_distinguished_for_unseen_classes(backbone):
    for name in ("teapot", "violin", "printed circuit board"):
        normal, anomalous = text_anchors(backbone, prompt_ensemble(name))
        assert (normal - anomalous).norm() > 0.05  # bounds the difference of cosines; 5 logits at 0.01


@pytest.fixture(scope="module")
def figures(backbone):
    """Image and pixel AUROC of text only, reference only and joint, by material [6, 3, 2], for one draw of pairs.

    Every third image of a material is scored.
    """
    return np.array([_figures(backbone, material) for material in MATERIALS])


def _figures(backbone, material):
    samples = [sample for sample in make_category(material) if sample.folder.startswith("test/")][::3]
    transform = backbone.preprocessing.transform("squash")
    images = torch.stack([transform(torch.tensor(sample.image).permute(2, 0, 1) / 255) for sample in samples])
    masks = np.stack([np.zeros((128, 128), bool) if s.mask is None else s.mask for s in samples])
    with torch.no_grad():
        features = DualPathVisionEncoder(backbone.clip.visual)(images)
        anchors = text_anchors(backbone, prompt_ensemble(material))
    order = np.random.default_rng(0).permutation(len(samples))
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    text = text_score(features.patch_embeddings, anchors, 0.07)
    visual = reference_score(features.patch_embeddings, features.patch_embeddings[torch.from_numpy(partner)][:, None])
    class_score = text_score(features.class_embedding, anchors, 0.07)
    maps = ((text, 0.5), (visual, 0.0), (joint_score(text, visual, 0.5), 0.5))
    return [
        (
            roc_auc_score(masks.any((1, 2)), image_score(class_score, score_map, weight)),
            roc_auc_score(masks.ravel(), draw(score_map, (128, 128)).ravel()),
        )
        for score_map, weight in maps
    ]


@pytest.mark.slow
def test_it_finds_defects_on_unseen_materials(figures):
    (text_image, text_pixel), _, (joint_image, joint_pixel) = figures.mean(axis=0)
    assert text_image >= 0.98
    assert text_pixel >= 0.97
    assert joint_image >= 0.98
    assert joint_pixel >= 0.97


@pytest.mark.slow
def test_no_material_is_at_the_level_of_chance(figures):
    assert figures.min() > 0.8

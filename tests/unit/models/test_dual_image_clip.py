from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.dual_image_clip import DualImageCLIP, DualImageCLIPModel
from dualclip_lightning.scoring import ReferenceScoring
from tests.towers import random_images, tower

TAU, ALPHA, WEIGHT = 0.1, 0.3, 0.6


def build(seed: int = 0, **changes) -> DualImageCLIPModel:
    arguments = {"temperature": TAU, "alpha": ALPHA, "class_weight": WEIGHT} | changes
    comparison = arguments.get("comparison", ReferenceScoring())
    encoder = DualPathVisionEncoder(tower(seed=seed), None, comparison.layers, comparison.path)
    model = DualImageCLIPModel(encoder, **arguments)
    model.anchors = torch.randn(2, 32, generator=torch.Generator().manual_seed(seed))
    return model.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def model():
    return build()


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())


def by_the_equations(model: DualImageCLIPModel, images: torch.Tensor, references: list[list[int]]):
    """Compute scores and patch maps, one patch at a time (eq. 1 to 6 and 13)."""
    features = model.encoder(images)

    def anomalous(embedding):
        normal, bad = (math.exp(cosine(embedding, anchor) / TAU) for anchor in model.anchors)
        return bad / (normal + bad)

    scores, maps = [], []
    for i, rows in enumerate(references):
        values = []
        for patch in features.patch_embeddings[i].flatten(0, 1):
            nearest = [max(cosine(patch, other) for other in features.patch_embeddings[r].flatten(0, 1)) for r in rows]
            visual = sum(min(1 - n, 1) for n in nearest) / len(rows)
            values.append(ALPHA * anomalous(patch) + (1 - ALPHA) * visual)
        maps.append(torch.tensor(values).view(features.patch_embeddings.shape[1:3]))
        scores.append(WEIGHT * anomalous(features.class_embedding[i]) + (1 - WEIGHT) * max(values))
    return torch.tensor(scores), torch.stack(maps)


@pytest.mark.parametrize(
    ("num_references", "batch", "references"),
    [
        (1, 2, [[1], [0]]),
        (1, 5, [[1], [0], [3], [4], [2]]),
        (2, 3, [[1, 2], [2, 0], [0, 1]]),
        (3, 2, [[1], [0]]),
    ],
)
@pytest.mark.parametrize("size", [(48, 48), (32, 64)])
def test_forward_is_the_equations(num_references, batch, references, size):
    model, images = build(num_references=num_references), random_images(batch, *size)
    scores, maps = by_the_equations(model, images, references)
    prediction = model.predict_patches(images, torch.tensor(references))
    torch.testing.assert_close(prediction.maps, maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(prediction.scores, scores, atol=1e-5, rtol=0)
    drawn = model(images)
    torch.testing.assert_close(drawn.pred_score, scores, atol=1e-5, rtol=0)
    assert drawn.anomaly_map.shape == (batch, *size)
    averaged = F.avg_pool2d(F.pad(maps[:, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)  # as in AnoCLIP
    expected = F.interpolate(averaged, size=size, mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(drawn.anomaly_map, expected, atol=1e-5, rtol=0)


def test_alpha_1_is_exactly_the_text_score():
    images = random_images(4)
    model = build(alpha=1)
    with_others = model.predict_patches(images, torch.tensor([[1], [0], [3], [2]]))
    for i in range(4):
        alone = model.predict_patches(images, torch.tensor([[(i + 2) % 4]] * 4))
        assert torch.equal(alone.maps[i], with_others.maps[i])
        assert torch.equal(alone.scores[i], with_others.scores[i])


def test_alpha_0_leaves_the_anchors_to_the_class_token():
    images, model = random_images(2), build(alpha=0)
    before = model(images)
    model.anchors = model.anchors.flip(0)
    after = model(images)
    assert torch.equal(before.anomaly_map, after.anomaly_map)
    assert not torch.allclose(before.pred_score, after.pred_score)


def test_a_batch_of_one_is_scored_by_text_only_with_one_message(caplog):
    images, model = random_images(3), build()
    expected = build(alpha=1)(images)
    for i in range(3):
        prediction = model(images[i : i + 1])
        torch.testing.assert_close(prediction.anomaly_map[0], expected.anomaly_map[i])
        torch.testing.assert_close(prediction.pred_score[0], expected.pred_score[i])
    assert caplog.text.count("only its text score") == 1


def test_with_a_reference_bank_every_image_is_compared_with_all_of_it():
    model, images, bank = build(), random_images(3), random_images(11, seed=1)
    model.set_references(bank, [f"bank/{i}.png" for i in range(11)])
    _, maps = by_the_equations(model, torch.cat([images, bank]), [list(range(3, 14))] * 3)
    prediction = model.predict_patches(images, names=["a.png", "b.png", "c.png"])
    torch.testing.assert_close(prediction.maps, maps, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(images).pred_score, prediction.scores)


GROWN = ReferenceScoring(layers=(0.5, 1.0), path="ordinary", neighbourhood=(1, 3), fusion="lowest", lowest=0.7)


def by_loops(model: DualImageCLIPModel, images: torch.Tensor, references: list[list[int]]) -> torch.Tensor:
    """A_V of `GROWN`, one patch at a time; sums over neighbours have the direction of their mean."""
    maps = []
    for layer in model.encoder(images).layers:
        rows, columns = layer.shape[1:3]
        around = F.pad(layer, (0, 0, 1, 1, 1, 1))
        summed = sum(around[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3))
        for tokens in (layer, summed):
            for own, others in zip(tokens, references, strict=True):
                for patch in own.flatten(0, 1):
                    nearest = [max(cosine(patch, other) for other in tokens[r].flatten(0, 1)) for r in others]
                    share = sorted(1 - n for n in nearest)[: max(1, int(len(others) * 0.7))]
                    maps.append(min(sum(share) / len(share), 1))
    return torch.tensor(maps).view(4, len(references), rows, columns).mean(dim=0)


def test_several_layers_and_neighbourhoods_are_compared_with_references_of_the_batch():
    model, images = build(alpha=0, comparison=GROWN), random_images(4, 32, 64)
    references = [[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]]
    prediction = model.predict_patches(images, torch.tensor(references))
    torch.testing.assert_close(prediction.maps, by_loops(model, images, references), atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", ["lowest", "subspace"])
def test_a_bank_gives_what_the_same_references_in_the_batch_give(fusion):
    comparison = replace(GROWN, fusion=fusion, explained_variance=0.7, rotations=True, class_neighbours=(1, 2))
    model, images = build(comparison=comparison), random_images(7, 32, 64)
    names = [f"{i}.png" for i in range(7)]
    expected = model.predict_patches(images, torch.tensor([[4, 5, 6]] * 7), names)
    model.set_references(images[4:], names[4:])
    found = model.predict_patches(images, None, names)
    torch.testing.assert_close(found.maps[:4], expected.maps[:4], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.scores[:4], expected.scores[:4], atol=1e-5, rtol=0)
    without = model.predict_patches(images[4:], torch.tensor([[1, 2], [0, 2], [0, 1]]), names[4:])
    torch.testing.assert_close(found.maps[4:], without.maps, atol=1e-5, rtol=0)


def test_the_class_token_score_is_smoothed_over_the_image_and_its_references():
    images, rows = random_images(3), torch.tensor([[1, 2], [2, 0], [0, 1]])
    smoothed = build(class_weight=1, comparison=ReferenceScoring(class_neighbours=(2,))).predict_patches(images, rows)
    model = build(class_weight=1)
    plain, classes = model.predict_patches(images, rows).scores, model.encoder(images).class_embedding
    for image in range(3):
        near = max((cosine(classes[image], classes[r]), r) for r in rows[image].tolist())
        weight = max(near[0], 0)
        expected = (plain[image] + weight * plain[near[1]]) / (1 + weight)
        assert smoothed.scores[image].item() == pytest.approx(expected.item(), abs=1e-5)


def test_an_image_is_encoded_once_for_several_references(monkeypatch):
    model, images = build(comparison=GROWN), random_images(5)
    seen = []
    forward = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x: seen.append(len(x)) or forward(x))
    model.predict_patches(images, (torch.arange(5)[:, None] + torch.arange(1, 5)) % 5)
    assert seen == [5]


def test_an_image_that_lies_in_the_bank_is_not_its_own_reference(tmp_path):
    model, bank = build(), random_images(3)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        path.touch()
    (tmp_path / "link.png").symlink_to(paths[0])
    model.set_references(bank, [str(path) for path in paths])
    _, maps = by_the_equations(model, bank, [[1, 2], [0, 2], [0, 1]])
    names = [str(tmp_path / "link.png"), str(tmp_path / "." / "1.png"), str(paths[2])]
    torch.testing.assert_close(model.predict_patches(bank, names=names).maps, maps, atol=1e-5, rtol=0)


def test_a_bank_with_only_the_image_itself_leaves_the_text_score(caplog):
    model, image = build(), random_images(1)
    model.set_references(image, ["one.png"])
    prediction = model.predict_patches(image, names=["one.png"])
    torch.testing.assert_close(prediction.maps, build(alpha=1).predict_patches(image).maps)
    assert "only its text score" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_close_to_single_precision_and_gives_single_precision(model, dtype):
    images = random_images(4)
    exact = model(images)
    with torch.autocast("cpu", dtype=dtype):
        rough = model(images)
    assert rough.pred_score.dtype == rough.anomaly_map.dtype == torch.float32
    torch.testing.assert_close(rough.pred_score, exact.pred_score, atol=0.03, rtol=0)
    torch.testing.assert_close(rough.anomaly_map, exact.anomaly_map, atol=0.05, rtol=0)


def test_without_anchors_the_remedy_is_named():
    model = DualImageCLIPModel(DualPathVisionEncoder(tower()))
    with pytest.raises(RuntimeError, match=r"set_class_name"):
        model(random_images(2))


BAD_NUMBERS = [
    ({"num_references": 0}, "num_references to be a whole number of at least 1, but got 0. Set alpha=1"),
    ({"num_references": -3}, "num_references to be a whole number of at least 1"),
    ({"num_references": 1.5}, r"num_references to be a whole number of at least 1, but got 1\.5"),
    ({"temperature": 0.0}, r"temperature to be a number above 0, but got 0\.0"),
    ({"temperature": -1.0}, "temperature to be a number above 0"),
    ({"temperature": math.nan}, "temperature to be a number above 0, but got nan"),
    ({"temperature": math.inf}, "temperature to be a number above 0"),
    ({"alpha": -0.1}, r"alpha to be in \[0, 1\], but got -0\.1"),
    ({"alpha": 1.5}, r"alpha to be in \[0, 1\]"),
    ({"alpha": math.nan}, r"alpha to be in \[0, 1\]"),
    ({"class_weight": 2.0}, r"class_weight to be in \[0, 1\], but got 2\.0"),
    ({"class_weight": "half"}, r"class_weight to be in \[0, 1\], but got 'half'"),
    ({"temperature": "x"}, "temperature to be a number above 0, but got 'x'"),
]
BAD_COMPARISONS = [
    ({"reference_layers": [3, 6, 9, 12]}, r"reference_layers to be depths in \(0, 1\]"),
    ({"reference_layers": []}, "reference_layers to be depths"),
    ({"reference_path": "plain"}, "reference_path to be 'vv', 'ordinary' or 'stem'"),
    (
        {"reference_path": "stem", "reference_layers": [0.5]},
        "stem' has no reference_layers. Leave reference_layers out",
    ),
    ({"reference_path": "stem", "neighbourhood": [3]}, "reference_path 'stem' has no neighbourhood. Leave"),
    ({"reference_path": "stem", "reference_backbone": "timm:test_vit"}, "The stem is that of CLIP. Set reference_path"),
    ({"neighbourhood": [2]}, "neighbourhood to be odd sides"),
    ({"neighbourhood_weighting": "sum"}, "neighbourhood_weighting to be 'mean' or 'similarity'"),
    ({"reference_fusion": "min"}, "reference_fusion to be 'mean', 'lowest' or 'subspace'"),
    ({"lowest": 30}, r"lowest to be in \[0, 1\]"),
    ({"explained_variance": 1.0}, r"explained_variance to be in \(0, 1\)"),
    ({"reference_rotations": 90}, "reference_rotations to be True or False"),
    ({"class_neighbours": []}, "class_neighbours to be numbers of images"),
]


@pytest.mark.parametrize(("arguments", "match"), BAD_NUMBERS)
def test_numbers_out_of_range_are_refused_before_any_weights_are_loaded(arguments, match, monkeypatch):
    monkeypatch.setattr("dualclip_lightning.backbone.loading.load_backbone", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=match):
        DualImageCLIP(**arguments)
    with pytest.raises(ValueError, match=match):
        build(**arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"class_name": "__"}, "at least one letter"),
        ({"domain": "metal"}, "domain to be one of"),
        ({"seed": 0.5}, r"seed to be a whole number, but got 0\.5"),
        ({"tta": None}, "tta to be true, false or a mapping .* but got None"),
        ({"tta": "yes"}, "tta to be true, false or a mapping .* but got 'yes'"),
        ({"tta": {"steps": 2.5}}, "steps to be a whole number"),
        ({"templates": ["no slot"]}, "exactly one"),
        ({"states": {"normal": ["{}"]}}, "states with the keys"),
        *BAD_COMPARISONS,
    ],
)
def test_invalid_arguments_are_refused_before_any_weights_are_loaded(arguments, match, monkeypatch):
    monkeypatch.setattr("dualclip_lightning.backbone.loading.load_backbone", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=match):
        DualImageCLIP(**arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"image_size": 50}, "50x50 pixels does not divide into 16x16 patches.*48x48"),
        ({"image_size": (48, 50)}, "48x50 pixels"),
        ({"image_size": (48, 96), "resize": "crop"}, "square"),
        ({"resize": "pad"}, "'squash' or 'crop'"),
        ({"vv_blocks": [4]}, "from 1 to 3"),
        ({"vv_blocks": []}, "from 1 to 3"),
    ],
)
def test_arguments_that_do_not_fit_the_backbone_are_refused(tiny_folder, arguments, match):
    with pytest.raises(ValueError, match=match):
        DualImageCLIP(pretrained=str(tiny_folder), **arguments)


def test_the_pre_processor_is_that_of_the_weights_at_the_requested_size(tiny_folder):
    method = DualImageCLIP(pretrained=str(tiny_folder), image_size=(32, 64), visualizer=False)
    prepared = method.pre_processor.transform(torch.full((1, 3, 100, 90), 0.5))
    assert prepared.shape == (1, 3, 32, 64)
    expected = [(0.5 - mean) / std for mean, std in zip((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), strict=True)]
    assert prepared[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_every_choice_of_the_comparison_reaches_the_model(tiny_folder):
    chosen = {
        "reference_layers": [0.5, 1.0], "reference_path": "ordinary", "neighbourhood": [1, 3],
        "neighbourhood_weighting": "similarity", "reference_fusion": "subspace", "lowest": 0.5,
        "explained_variance": 0.9, "reference_rotations": True, "class_neighbours": [1, 2],
    }  # fmt: skip
    model = DualImageCLIP(pretrained=str(tiny_folder), visualizer=False, **chosen).model
    found = [list(value) if isinstance(value, tuple) else value for value in asdict(model.comparison).values()]
    assert found == list(chosen.values())
    assert (model.encoder.layers, model.encoder.path) == ((2, 3), "ordinary")
    assert DualImageCLIP(pretrained=str(tiny_folder), visualizer=False).model.comparison == ReferenceScoring()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, Kind.PAIR),
        ({"alpha": 1.0}, Kind.INDUCTIVE),
        ({"num_references": 4, "reference_fusion": "lowest"}, Kind.PAIR),
    ],
)
def test_a_few_references_make_no_method_transductive(tiny_folder, arguments, kind):
    assert DualImageCLIP(pretrained=str(tiny_folder), visualizer=False, **arguments).kind == kind


def test_every_choice_that_changes_a_score_reaches_the_model(tiny_folder):
    method = DualImageCLIP(
        pretrained=str(tiny_folder), num_references=2, temperature=0.2, alpha=0.1, class_weight=0.9, vv_blocks=[2, 3],
        visualizer=False,
    )  # fmt: skip
    model = method.model
    scoring = model.scoring
    found = (model.num_references, scoring.temperature, scoring.alpha, scoring.class_weight, model.encoder.vv_blocks)
    assert found == (2, 0.2, 0.1, 0.9, {2, 3})

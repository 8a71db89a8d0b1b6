from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from scipy.ndimage import gaussian_filter
from torch import nn

from dualclip_lightning import ClipAD
from dualclip_lightning.backbone import StagedFeatures
from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.clip_ad import ClipADModel
from dualclip_lightning.prompts import prompt_ensemble, text_embeddings
from dualclip_lightning.prompts.representative import representative_vector
from dualclip_lightning.scoring import MapDrawing, feature_surgery
from tests.towers import SIZE, random_images

EXACT = {"atol": 1e-5, "rtol": 0}


class Recorded(nn.Module):
    """Encoder that returns the tokens of a recorded image."""

    def __init__(self, stages):
        super().__init__()
        self.stages = stages

    def forward(self, _images):
        return StagedFeatures(tuple(self.stages), (), (5, 5))


@pytest.fixture
def make(tiny_folder):
    def build(**arguments):
        tiny = {"pretrained": str(tiny_folder), "class_name": "screw", "visualizer": False}
        method = ClipAD(**tiny | arguments)
        method.set_class_name(method.class_name)
        return method.eval()

    return build


def test_reproduces_the_recorded_image_scores_and_maps(golden):
    vectors = golden("staged_similarity")
    for b in range(3):
        model = ClipADModel(Recorded([vectors[f"in.stage{i}"][b : b + 1] for i in range(4)]), drawing=MapDrawing())
        model.anchors = vectors["in.text"][b].T
        parts, maps = model.score_parts(torch.zeros(1, 3, 80, 80))
        torch.testing.assert_close(parts[0], vectors["out.image_score"][b : b + 1], **EXACT)
        torch.testing.assert_close(8 * maps - 4, vectors["out.map"][b : b + 1, ..., 1], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_the_map_is_smoothed_as_by_scipy(make, sigma):
    images = random_images(2)
    rough, smooth = (make(drawing={"sigma": s}).model(images).anomaly_map for s in (0.0, sigma))
    expected = torch.stack([torch.from_numpy(gaussian_filter(m.double().numpy(), sigma)) for m in rough])
    torch.testing.assert_close(smooth.double(), expected, **EXACT)


@torch.no_grad()
def test_the_map_is_smoothed_in_single_precision_under_autocast(make):
    images = random_images(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, smooth = (make(drawing={"sigma": s}).model(images).anomaly_map for s in (0.0, 8.0))
    expected = torch.stack([torch.from_numpy(gaussian_filter(m.double().numpy(), 8.0)) for m in rough])
    torch.testing.assert_close(smooth.double(), expected, **EXACT)


@torch.no_grad()
def test_the_score_is_the_mean_of_the_class_tokens_probability_and_the_maps_maximum(make):
    method, images = make(), random_images(3)
    output = method.model(images)
    cosines = F.normalize(method.backbone.clip.encode_image(images), dim=-1) @ method.model.anchors.T
    expected = ((cosines / 0.01).softmax(-1)[:, 1] + output.anomaly_map.amax(dim=(1, 2))) / 2
    torch.testing.assert_close(output.pred_score, expected, **EXACT)


@torch.no_grad()
def test_sdp_plus_adds_the_probabilities_of_every_stage_to_the_map_of_sdp(make):
    method, images = make(variant="sdp+", drawing="winclip", temperature=0.1), random_images(2, 32, 64)
    features = method.model.encoder(images)
    anchors = method.model.anchors
    similarity = feature_surgery(features.stages, anchors)[:, 1:, 1].unflatten(1, (2, 4))
    total = F.interpolate(similarity[:, None], (32, 64), mode="bilinear")[:, 0]
    for layer, tokens in zip(method.model.trained_layers, features.ordinary, strict=True):
        patches = F.normalize(layer(tokens[:, 1:]), dim=-1)
        logits = (patches @ anchors.T / 0.1).transpose(1, 2).unflatten(2, (2, 4))
        drawn = F.interpolate(logits, (32, 64), mode="bilinear", align_corners=True)
        total += drawn.softmax(dim=1)[:, 1]
    torch.testing.assert_close(method.model(images).anomaly_map, (total + 3) / 9, **EXACT)


def test_anchors_are_the_representatives_of_clip_ads_prompts(make):
    method = make(representative="kde")
    states = text_embeddings(method.backbone, prompt_ensemble("screw", wording="clip_ad"))
    expected = torch.stack([representative_vector(state, "kde") for state in states])
    assert torch.equal(method.model.anchors, expected)
    assert not torch.equal(make(representative="pca").model.anchors, expected)


@torch.no_grad()
def test_released_tokens_change_the_map_and_not_the_class_token(make):
    images = random_images(2)
    ours, released = (make(released_tokens=value).model for value in (False, True))
    (own, own_map), (their, their_map) = ours.score_parts(images), released.score_parts(images)
    torch.testing.assert_close(own[0], their[0], **EXACT)
    assert (own_map - their_map).abs().max() > 1e-5


class TestNormalizedScores:
    @pytest.fixture
    def scores(self, tmp_path, mvtec_root):
        """Return scores by image, and the maxima of the maps."""

        def run(method, batch_size):
            engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
            data = MVTecAD(root=mvtec_root, category="metal_nut", eval_batch_size=batch_size, num_workers=0)
            batches = engine.predict(method, datamodule=data)
            return tuple(
                torch.cat(part)
                for part in zip(*[(b.pred_score, b.anomaly_map.amax(dim=(1, 2))) for b in batches], strict=True)
            )

        return run

    @pytest.mark.slow
    def test_both_parts_are_scaled_over_the_test_set_before_they_are_joined(self, make, scores):
        plain, maxima = scores(make(), 4)
        parts = torch.stack([2 * plain - maxima, maxima]).double()
        low, high = parts.amin(dim=1, keepdim=True), parts.amax(dim=1, keepdim=True)
        expected = ((parts - low) / (high - low)).mean(dim=0)
        for batch_size in (1, 4, 9):
            got, _ = scores(make(normalize_scores=True), batch_size)
            torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=0)

    def test_a_test_set_without_a_range_of_scores_has_finite_ones(self, make):
        # Several equal images are no such set: their scores may differ by rounding, depending on the processor.
        assert make(normalize_scores=True).model(random_images(1)).pred_score.tolist() == [0]

    def test_the_kind_follows_from_the_settings(self, make):
        assert make().kind == Kind.INDUCTIVE
        assert make(normalize_scores=True).kind == Kind.TRANSDUCTIVE
        assert make(variant="sdp+").kind == Kind.AUXILIARY

    def test_training_on_labels_is_part_of_the_kind(self, make):
        method = make(variant="sdp+", normalize_scores=True)
        assert method.provenance()["kind"] == "auxiliary, transductive"
        method.trained_on = ({"dataset": "another", "categories": ["another"], "images": 1},)
        with pytest.raises(ValueError, match="depends on other images"):
            method.to_torch("nowhere")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"variant": "sdp++"}, "'sdp' or 'sdp\\+'"),
        ({"stages": [3, 6, 9, 12]}, r"1 to 3.*\[1, 2, 3\]"),
        ({"representative": "median"}, "'mean', 'pca', 'kde', 'dbscan' or 'mean_shift'"),
        ({"eps": -1.0}, "eps to be a number above 0"),
        ({"min_samples": 0}, "min_samples to be a whole number of at least 1"),
        ({"temperature": 0.0}, "temperature to be a number above 0"),
        ({"drawing": {"sigma": -1.0}}, "sigma to be at least 0"),
        ({"epochs": 0}, "epochs to be a whole number of at least 1"),
        ({"epochs": 1.5}, r"epochs to be a whole number of at least 1, but got 1\.5"),
        ({"batch_size": 0}, "batch_size to be a whole number of at least 1"),
        ({"batch_size": True}, "batch_size to be a whole number"),
        ({"min_samples": 1.5}, "min_samples to be a whole number"),
        ({"learning_rate": 0.0}, "learning_rate to be a number above 0"),
        ({"auxiliary_categories": []}, "at least one category"),
    ],
)
def test_a_bad_argument_is_an_error_that_names_the_remedy(make, arguments, match):
    with pytest.raises(ValueError, match=match):
        make(**arguments)


def test_the_default_stages_are_the_quarters_of_the_tower(make):
    assert make().model.encoder.stages == (1, 2, 3)
    assert make(stages=[2]).model.encoder.stages == (2,)
    assert make(stages=[2]).model(random_images(2)).anomaly_map.shape == (2, SIZE, SIZE)

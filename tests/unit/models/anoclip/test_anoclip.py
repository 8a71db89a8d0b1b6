from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import Folder, MVTecAD
from anomalib.engine import Engine
from PIL import Image

from dualclip_lightning import AnoCLIP, ClipZeroShot
from dualclip_lightning.adaptation.anoclip import sample_adapter, sample_noise
from dualclip_lightning.backbone import DualPathFeatures
from dualclip_lightning.models import AnoCLIPModel
from dualclip_lightning.models.anoclip import NoiseSettings, torch_model
from dualclip_lightning.models.anoclip.views import augmented_views
from dualclip_lightning.models.base import Kind
from tests.towers import SIZE, random_images, tiny_backbone

NAMES = ["a/0.png", "a/1.png", "a/2.png"]


@pytest.fixture
def make(tiny_folder):
    def build(**arguments):
        tiny = {"pretrained": str(tiny_folder), "class_name": "screw", "visualizer": False}
        method = AnoCLIP(**tiny | arguments)
        method.set_class_name(method.class_name)
        return method.eval()

    return build


def probability(embeddings, anchors):
    """Compute the softmax of the cosines at temperature 1."""
    return (F.normalize(embeddings, dim=-1) @ anchors.T).softmax(-1)[..., 1]


@torch.no_grad()
def test_the_image_score_is_the_mean_over_the_views_as_open_clip_sees_them(make):
    method, images = make(), random_images(2)
    views = augmented_views(images)
    expected = torch.stack([probability(method.backbone.clip.encode_image(v), method.model.anchors) for v in views])
    torch.testing.assert_close(method.model(images).pred_score, expected.mean(dim=0), atol=1e-6, rtol=0)
    alone = make(views=False).model(images).pred_score
    torch.testing.assert_close(alone, expected[0], atol=1e-6, rtol=0)


@torch.no_grad()
def test_without_adaptation_the_map_is_the_blurred_text_map(make):
    method, images = make(steps=0, views=False), random_images(2)
    patches = method.model.encoder(images).patch_embeddings
    text = probability(patches, method.model.anchors)
    padded = F.pad(text, (1, 1, 1, 1), mode="replicate")
    blurred = torch.stack([padded[:, r : r + 3, c : c + 3] for r in range(3) for c in range(3)]).mean(dim=0)
    expected = F.interpolate(blurred[:, None], (SIZE, SIZE), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(method.model(images).anomaly_map, expected, atol=1e-6, rtol=0)


def test_adaptation_changes_the_map_and_not_the_image_score(make):
    images = random_images(2)
    plain, adapted = make(steps=0, views=False).model(images), make(views=False).model(images)
    assert torch.equal(plain.pred_score, adapted.pred_score)
    assert (plain.anomaly_map - adapted.anomaly_map).abs().max() > 1e-3


def test_an_image_has_its_own_noise_and_adapter_in_any_batch(make):
    model, images = make(views=False).model, random_images(3)
    together = model(images, NAMES).anomaly_map
    for i in range(3):
        alone = model(images[i : i + 1], NAMES[i : i + 1]).anomaly_map[0]
        torch.testing.assert_close(alone, together[i], atol=1e-5, rtol=0)
    renamed = model(images, ["a/3.png", *NAMES[1:]]).anomaly_map
    assert (renamed[0] - together[0]).abs().max() > 1e-5
    assert (make(views=False, seed=1).model(images, NAMES).anomaly_map - together).abs().max() > 1e-5


def test_a_carried_optimizer_makes_scores_depend_on_the_images_before(make):
    images = random_images(3)
    fresh = make(views=False).model(images, NAMES).anomaly_map
    carried = make(views=False, carry_optimizer=True)
    first = carried.model(images, NAMES).anomaly_map
    torch.testing.assert_close(first[0], fresh[0], atol=1e-5, rtol=0)
    assert (first[2] - fresh[2]).abs().max() > 1e-4
    assert (carried.model(images, NAMES).anomaly_map[0] - fresh[0]).abs().max() > 3e-5
    assert carried.kind == Kind.TRANSDUCTIVE


@pytest.mark.slow
def test_every_run_starts_with_a_fresh_optimizer(make, mvtec_root, tmp_path):
    method = make(views=False, carry_optimizer=True)

    def run():
        engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
        data = MVTecAD(root=mvtec_root, category="metal_nut", eval_batch_size=4, num_workers=0)
        return torch.cat([batch.anomaly_map for batch in engine.predict(method, datamodule=data)])

    first = run()
    assert method.model.memory
    assert torch.equal(run(), first)


class Recorded(torch.nn.Module):
    """Encoder that returns recorded embeddings for any image."""

    def __init__(self, features):
        super().__init__()
        self.visual, self.features = tiny_backbone().clip.visual, features

    def forward(self, images):
        assert len(images) == len(self.features.class_embedding)
        return self.features


@pytest.fixture
def released(golden, monkeypatch):
    """The module in the form for VisA with recorded embeddings, initial weights and noise, and the recorded vectors."""
    vectors = golden("anovl_visa")

    def build(prefix="", turned=False):
        tokens, noise, weight, bias, classes = (
            vectors[f"in.{prefix}{name}"] for name in ("tokens", "noise", "weight", "bias", "image_tokens")
        )
        if turned:
            tokens, noise = tokens.transpose(-2, -3), noise.transpose(-2, -3)
        encoder = Recorded(DualPathFeatures(classes[:, 0], tokens))
        model = AnoCLIPModel(encoder, NoiseSettings(steps=2), views=False, adapter="linear", tiles=True)
        model.anchors = vectors["in.anchors"].T
        monkeypatch.setattr(torch_model, "sample_adapter", lambda *_: (weight, bias))
        monkeypatch.setattr(torch_model, "sample_noise", lambda *_: list(noise))
        return model

    return build, vectors


@pytest.mark.parametrize("prefix", ["", "carried."])
def test_scores_and_maps_are_those_of_the_released_code_for_visa(released, prefix):
    build, vectors = released
    model, images = build(), torch.zeros(1, 3, *vectors["in.map_size"])
    if prefix:
        model.memory = {}
        model(images)
        second = build(prefix)
        second.memory, model = model.memory, second
    output = model(images)
    torch.testing.assert_close(output.anomaly_map[0], vectors[f"out.{prefix}map"], atol=1e-5, rtol=0)
    torch.testing.assert_close(output.pred_score[0], vectors[f"out.{prefix}image_score"], atol=1e-5, rtol=0)


VISA = {"resize": "tiles", "adapter": "linear", "views": False, "image_size": SIZE}


def test_both_tiles_of_an_oblong_image_are_scored_as_separate_images(make):
    method, images = make(**VISA, steps=0), random_images(2, width=SIZE + 32)
    squares = make(steps=0, views=False).model
    output, ends = method.model(images), [squares(part) for part in (images[..., :SIZE], images[..., 32:])]
    scores = torch.stack([end.pred_score for end in ends]).mean(dim=0)
    torch.testing.assert_close(output.pred_score, scores, atol=1e-6, rtol=0)
    torch.testing.assert_close(output.anomaly_map[..., :32], ends[0].anomaly_map[..., :32], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.anomaly_map[..., SIZE:], ends[1].anomaly_map[..., SIZE - 32 :], atol=1e-6, rtol=0)


def test_in_a_batch_an_oblong_image_has_the_map_that_it_has_alone(make):
    method, images = make(**VISA), random_images(3, width=SIZE + 32)
    together = method.model(images, NAMES)
    for i in range(3):
        single = method.model(images[i : i + 1], NAMES[i : i + 1])
        torch.testing.assert_close(single.anomaly_map[0], together.anomaly_map[i], atol=1e-5, rtol=0)


def test_a_portrait_image_has_the_rotated_map_of_the_landscape_image(released):
    build, vectors = released
    images = torch.zeros(1, 3, *vectors["in.map_size"]).transpose(-1, -2)
    portrait = build(turned=True)(images).anomaly_map[0]
    torch.testing.assert_close(portrait.T, vectors["out.map"], atol=1e-5, rtol=0)


def write_category(root, sizes):
    """Write a category with one normal and one anomalous image, with its mask, of each size (height, width)."""
    for i, (height, width) in enumerate(sizes):
        rng = np.random.default_rng(i)
        for split in ("train/good", "test/good", "test/bent"):
            path = root / "bracket" / split / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        mask = np.zeros((height, width), np.uint8)
        mask[: height // 2, : width // 2] = 255
        path = root / "bracket" / "ground_truth" / "bent" / f"{i}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return root


def run_tiles(make, root, batch_size, out):
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=out, enable_progress_bar=False)
    data = Folder(name="bracket", root=root / "bracket", normal_dir="train/good", normal_test_dir="test/good",
                  abnormal_dir="test/bent", mask_dir="ground_truth/bent", eval_batch_size=batch_size,
                  num_workers=0)  # fmt: skip
    return engine.test(make(**VISA, steps=1), datamodule=data, verbose=False)[0]


def test_oblong_images_go_through_the_engine_with_their_masks(make, tmp_path):
    metrics = run_tiles(make, write_category(tmp_path / "data", [(100, 130)] * 3), 2, tmp_path)
    assert set(metrics) >= {"image_AUROC", "pixel_AUROC", "pixel_PRO"}


def test_images_of_several_shapes_need_batches_of_one(make, tmp_path):
    root = write_category(tmp_path / "data", [(100, 130), (100, 150), (130, 100)])
    with pytest.raises(ValueError, match=r"one size, but got .* and .*, or batch_size .eval_batch_size. to 1"):
        run_tiles(make, root, 6, tmp_path)
    assert run_tiles(make, root, 1, tmp_path)["pixel_AUROC"] > 0


@pytest.mark.parametrize(("arguments", "message"), [
    ({"adapter": "tanh"}, "Expected adapter to be 'text' or 'linear', but got 'tanh'"),
    ({"resize": "tiles", "image_size": (SIZE, SIZE + 16)}, "resize='tiles' needs a square image_size"),
    ({"resize": "pad"}, "Expected resize to be 'squash', 'crop' or 'tiles', but got 'pad'"),
])  # fmt: skip
def test_a_form_that_the_method_does_not_have_is_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_tiles_are_for_this_method_only(tiny_folder):
    with pytest.raises(ValueError, match="Expected resize to be 'squash' or 'crop', but got 'tiles'"):
        ClipZeroShot(pretrained=str(tiny_folder), resize="tiles")


def test_tiles_cannot_be_exported(make, tmp_path):
    with pytest.raises(ValueError, match="tiles depend on the shape of an image; set resize to squash"):
        make(**VISA, steps=0).to_torch(tmp_path)


def test_an_adapter_starts_as_a_linear_layer_does():
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 500)
    weight, bias = sample_adapter(seed=3, outputs=500, width=64)
    for ours, theirs in ((weight, layer.weight), (bias, layer.bias)):
        assert ours.shape == theirs.shape
        assert ours.abs().max() <= 1 / 8
        assert float(ours.std()) == pytest.approx(float(theirs.detach().std()), rel=0.1)
        assert abs(float(ours.mean())) < 0.01


def test_noise_is_new_at_every_step_and_as_strong_as_requested():
    first, second = sample_noise(seed=1, steps=2, shape=(8, 8, 64), scale=0.055)
    assert float(first.std()) == pytest.approx(0.055, rel=0.05)
    assert not torch.equal(first, second)
    assert torch.equal(first, sample_noise(seed=1, steps=1, shape=(8, 8, 64), scale=0.055)[0])


def test_states_may_have_different_numbers_of_phrases(make):
    states = {"normal": ["good {}"], "anomalous": ["bad {}", "broken {}"]}
    output = make(states=states, views=False).model(random_images(2))
    assert output.anomaly_map.isfinite().all()


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "noise"])
def test_a_negative_number_is_refused(make, name):
    with pytest.raises(ValueError, match=f"Expected {name} to be at least 0"):
        make(**{name: -1})


@pytest.mark.parametrize("steps", [-1, 2.5, True, "5", None])
def test_steps_that_are_not_an_integer_are_refused(make, steps):
    with pytest.raises(ValueError, match="Expected steps to be a whole number of at least 0, but got"):
        make(steps=steps)

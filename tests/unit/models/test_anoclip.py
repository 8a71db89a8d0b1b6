from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import MVTecAD
from anomalib.engine import Engine

from dualclip_lightning import AnoCLIP
from dualclip_lightning.adaptation import augmented_views
from dualclip_lightning.adaptation.anoclip import draw_adapter, draw_noise
from tests.towers import SIZE, random_images

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
    """Softmax of the plain cosines, temperature 1."""
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


def test_an_image_has_its_own_noise_and_adapter_whoever_its_neighbours_are(make):
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
    assert (carried.model(images, NAMES).anomaly_map[0] - fresh[0]).abs().max() > 1e-4
    assert carried.kind == "transductive"


def test_every_run_starts_with_a_fresh_optimizer(make, mvtec_root, tmp_path):
    method = make(views=False, carry_optimizer=True)

    def run():
        engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
        data = MVTecAD(root=mvtec_root, category="metal_nut", eval_batch_size=4, num_workers=0)
        return torch.cat([batch.anomaly_map for batch in engine.predict(method, datamodule=data)])

    first = run()
    assert method.model.memory
    assert torch.equal(run(), first)


def test_an_adapter_starts_as_a_linear_layer_does():
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 500)
    weight, bias = draw_adapter(seed=3, prompts=500, width=64)
    for ours, theirs in ((weight, layer.weight), (bias, layer.bias)):
        assert ours.shape == theirs.shape
        assert ours.abs().max() <= 1 / 8
        assert float(ours.std()) == pytest.approx(float(theirs.detach().std()), rel=0.1)
        assert abs(float(ours.mean())) < 0.01


def test_noise_is_new_at_every_step_and_as_large_as_asked():
    first, second = draw_noise(seed=1, steps=2, shape=(8, 8, 64), scale=0.055)
    assert float(first.std()) == pytest.approx(0.055, rel=0.05)
    assert not torch.equal(first, second)
    assert torch.equal(first, draw_noise(seed=1, steps=1, shape=(8, 8, 64), scale=0.055)[0])


def test_states_may_have_different_numbers_of_phrases(make):
    states = {"normal": ["good {}"], "anomalous": ["bad {}", "broken {}"]}
    output = make(states=states, views=False).model(random_images(2))
    assert output.anomaly_map.isfinite().all()


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "noise"])
def test_a_negative_number_is_refused(make, name):
    with pytest.raises(ValueError, match=f"Expected {name} to be at least 0"):
        make(**{name: -1})


@pytest.mark.parametrize("steps", [-1, 2.5, True, "5", None])
def test_steps_that_are_no_whole_number_are_refused(make, steps):
    with pytest.raises(ValueError, match="Expected steps to be a whole number of at least 0, but got"):
        make(steps=steps)

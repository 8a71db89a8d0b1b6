"""WinCLIP, compared with anomalib's model where that is right, and the error in anomalib's model."""

from __future__ import annotations

import pytest
import torch
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.models.image.winclip.torch_model import WinClipModel
from anomalib.models.image.winclip.utils import make_masks

from dualclip_lightning import WinCLIP
from dualclip_lightning.backbone import WindowFeatures
from dualclip_lightning.models import WinCLIPModel
from dualclip_lightning.models.base import Kind
from dualclip_lightning.scoring import association_score, harmonic_map, text_score
from tests.towers import SIZE, random_images, tiny_backbone, write_image, write_mvtec


@pytest.fixture
def make(tiny_folder):
    def build(**arguments):
        tiny = {"pretrained": str(tiny_folder), "class_name": "screw", "visualizer": False}
        method = WinCLIP(**tiny | arguments)
        method.set_class_name(method.class_name)
        return method.eval()

    return build


def anomalib_model(clip, scales, temperature=0.07):
    """Return anomalib's module with a given CLIP; its constructor would download weights."""
    model = WinClipModel.__new__(WinClipModel)
    torch.nn.Module.__init__(model)
    model.clip, model.scales, model.temperature = clip, scales, temperature
    model.clip.visual.output_tokens = True
    model.grid_size = clip.visual.grid_size
    model.masks = [make_masks(model.grid_size, scale, 1) for scale in scales]
    model.k_shot, model.apply_transform = 0, False
    return model


@torch.no_grad()
def test_from_the_same_embeddings_scores_and_maps_are_anomalibs(make):
    method, images, normal = make(), random_images(3), random_images(2, seed=9)
    features, references = method.model.encoder(images), method.model.encoder(normal)
    other = anomalib_model(tiny_backbone().clip, (2, 3))
    other._text_embeddings = method.model.anchors
    windows = [window.flatten(1, 2) for window in features.window_embeddings]
    other.encode_image = lambda _: (features.class_embedding, windows, features.patch_tokens.flatten(1, 2))
    for shots in (0, 2):
        if shots:
            method.model.set_references(normal)
            other.k_shot = shots
            other._patch_embeddings = references.patch_tokens.flatten(1, 2)
            other._visual_embeddings = [window.flatten(1, 2) for window in references.window_embeddings]
        ours, theirs = method.model(images), other(images)
        torch.testing.assert_close(ours.pred_score, theirs.pred_score, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.anomaly_map, theirs.anomaly_map, atol=1e-5, rtol=0)


def recorded_model(vectors):
    """Return WinCLIP's module with recorded embeddings: 6x6 patches, with windows of 2x2 and of 3x3."""
    patches, mid, large = (vectors[f"in.{name}"] for name in ("patch", "mid", "large"))
    windows = mid.unflatten(1, (5, 5)), large.unflatten(1, (4, 4))
    features = WindowFeatures(vectors["in.class"], patches.unflatten(1, (6, 6)), windows)
    model = WinCLIPModel(lambda _: features)
    model.anchors = torch.stack([vectors["in.text_normal"], vectors["in.text_anomalous"]])
    return model


@torch.no_grad()
def test_scores_and_maps_are_those_of_the_best_known_reimplementation(golden):
    """github.com/zqhang/Accurate-WinCLIP-pytorch sums the two maps of WinCLIP+; here the map is their mean."""
    vectors = golden("winclip_score")
    model, images = recorded_model(vectors), torch.zeros(3, 3, *vectors["in.map_size"])
    zero_shot = model(images)
    torch.testing.assert_close(zero_shot.pred_score.double(), vectors["out.image_score"], atol=1e-5, rtol=0)
    torch.testing.assert_close(zero_shot.anomaly_map, vectors["out.map"], atol=1e-5, rtol=0)
    memories = (vectors[f"in.memory_{name}"] for name in ("patch", "mid", "large"))
    model.references = [memory.unflatten(0, (2, -1)) for memory in memories]
    few_shot = model(images)
    torch.testing.assert_close(few_shot.pred_score.double(), vectors["out.few_shot.image_score"], atol=1e-5, rtol=0)
    torch.testing.assert_close(2 * few_shot.anomaly_map, vectors["out.few_shot.map"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "side"), [("large", 3), ("mid", 2)])
def test_windows_are_combined_per_patch_as_in_the_best_known_reimplementation(golden, name, side):
    vectors, places = golden("winclip_score"), 7 - side
    numbers = vectors[f"in.{name}_windows"].unflatten(0, (places, places))
    assert all(r * 6 + c + 1 in numbers[y, x] for y in range(places) for x in range(places)
               for r in range(y, y + side) for c in range(x, x + side))  # fmt: skip
    anchors = torch.stack([vectors["in.text_normal"], vectors["in.text_anomalous"]])
    windows = text_score(vectors[f"in.{name}"], anchors, 0.07).unflatten(1, (places, places))
    torch.testing.assert_close(harmonic_map(windows, (6, 6)).double(), vectors[f"out.{name}_map"], atol=1e-5, rtol=0)
    distances = association_score(vectors[f"in.{name}"], vectors[f"in.memory_{name}"]).unflatten(1, (places, places))
    few_shot = harmonic_map(distances, (6, 6)).double()
    torch.testing.assert_close(few_shot, vectors[f"out.few_shot.{name}_map"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_window_over_all_patches_has_the_image_embedding_but_not_in_anomalib(make):
    """This is why the package has its own WinCLIP.

    anomalib passes windows to the tower with the tokens first, as open_clip expected before version 3. With open_clip 3
    each token then attends to the same token of the other windows, which gives wrong numbers without an error.
    """
    clip = make().backbone.clip
    images = random_images(4)
    whole = make(scales=(SIZE,)).model.encoder(images).window_embeddings[0][:, 0, 0]
    expected = clip.encode_image(images)
    assert torch.cosine_similarity(whole, expected).min() > 0.99999
    other = anomalib_model(tiny_backbone().clip, (3,))
    image, (window,), _ = other.encode_image(images)
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
    assert torch.cosine_similarity(window[:, 0], expected).min() < 0.99


@pytest.mark.slow
def test_the_normal_images_come_from_the_training_split_by_seed(make, tmp_path):
    write_mvtec(tmp_path, "bottle")
    for i in range(5):
        write_image(tmp_path / "bottle" / "train" / "good" / f"{i}.png", seed=50 + i)
    read = []

    def run(**arguments):
        method = make(k_shot=2, **arguments)
        tell = method._read_images
        method._read_images = lambda names: read.append([*names]) or tell(names)
        data = MVTecAD(root=tmp_path, category="bottle", num_workers=0)
        Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "out").test(method, datamodule=data)

    run(seed=1)
    run(seed=1)
    run(seed=4)
    run(seed=1, reference_dir=tmp_path / "bottle" / "test" / "scratch")
    assert read[0] == read[1] != read[2]
    assert all("train/good" in name for name in read[0] + read[2])
    assert all("test/scratch" in name for name in read[3])
    assert [len(names) for names in read] == [2, 2, 2, 2]


def test_an_image_is_not_its_own_reference(make, tmp_path):
    folder, elsewhere = tmp_path / "normal", tmp_path / "elsewhere"
    for i in range(3):
        write_image(folder / f"{i}.png", seed=i)
    for i in (1, 2):
        write_image(elsewhere / f"{i}.png", seed=i)

    def scores(references, k_shot):
        method = make(k_shot=k_shot, **({"reference_dir": references} if k_shot else {}))
        engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "out", enable_progress_bar=False)
        batches = engine.predict(method, data_path=folder)
        return torch.cat([b.pred_score for b in batches]), torch.cat([b.anomaly_map for b in batches])

    (all_scores, all_maps), (other_scores, other_maps) = scores(folder, 3), scores(elsewhere, 2)
    torch.testing.assert_close(all_scores[0], other_scores[0])
    torch.testing.assert_close(all_maps[0], other_maps[0])
    assert (all_scores[1:] > other_scores[1:] + 1e-3).all()  # there they found their own copies

    (folder / "1.png").unlink()
    (folder / "2.png").unlink()
    (alone, alone_map), (text, text_map) = scores(folder, 1), scores(None, 0)
    assert torch.equal(alone, text)
    assert torch.equal(alone_map, text_map)


def test_with_normal_images_the_kind_is_few_shot(make):
    assert make().kind == Kind.INDUCTIVE
    assert make(k_shot=1).kind == Kind.FEW_SHOT


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"k_shot": -1}, "k_shot to be a whole number of at least 0, but got -1"),
        ({"k_shot": 1.5}, r"k_shot to be a whole number of at least 0, but got 1\.5"),
        ({"reference_dir": "somewhere"}, "k_shot to be a whole number of at least 1, but got 0"),
        ({"scales": [2.5]}, r"scales to be a list of whole numbers such as \[2, 3\], but got \[2\.5\]"),
        ({"scales": 2}, "scales to be a list"),
        ({"scales": [0]}, "at least 1 patch"),
        ({"temperature": -1.0}, "above 0"),
    ],
)
def test_invalid_numbers_are_refused(make, arguments, match):
    with pytest.raises(ValueError, match=match):
        make(**arguments)


def test_with_too_few_normal_images_the_error_states_their_number(make, tmp_path):
    write_image(tmp_path / "normal" / "0.png", seed=1)
    write_image(tmp_path / "photos" / "0.png", seed=2)
    method = make(k_shot=2, reference_dir=tmp_path / "normal")
    with pytest.raises(ValueError, match=r"has 1\. Lower k_shot"):
        Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "out").predict(
            method, data_path=tmp_path / "photos"
        )


def test_predicting_a_folder_needs_a_folder_of_normal_images(make, tmp_path):
    write_image(tmp_path / "photos" / "0.png", seed=2)
    with pytest.raises(ValueError, match="Set reference_dir"):
        Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "out").predict(
            make(k_shot=1), data_path=tmp_path / "photos"
        )

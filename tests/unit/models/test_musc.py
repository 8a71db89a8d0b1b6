"""MuSc, compared with recorded vectors of the released code and with its parts called on a whole data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from anomalib.data import ImageBatch, PredictDataset
from torch.utils.data import DataLoader

from dualclip_lightning import MuSc
from dualclip_lightning.backbone import IntermediateEncoder
from dualclip_lightning.backbone.encoders.layers import IntermediateFeatures
from dualclip_lightning.models import MuScModel
from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.musc import torch_model
from dualclip_lightning.pairing import FeatureStore, ImageSet, random_subsets
from dualclip_lightning.scoring import DRAWINGS, draw, mutual_scores, paired_scores, rscin
from tests.engine_runs import metal_nut, run_engine
from tests.towers import PATCH, SIZE, random_images, write_image, write_mvtec

SAME = {"abs": 1e-5}
EXACT = {"atol": 1e-5, "rtol": 0}


@pytest.fixture
def make(tiny_folder):
    return lambda **arguments: MuSc(**{"pretrained": str(tiny_folder), "visualizer": False} | arguments)


@pytest.fixture(scope="module")
def whole(tiny_folder, mvtec_root, tmp_path_factory):
    """Scores of the whole set in one batch."""
    method = MuSc(pretrained=str(tiny_folder), visualizer=False)
    return run_engine(
        tmp_path_factory.mktemp("whole"), method, datamodule=metal_nut(mvtec_root, eval_batch_size=9)
    ).scores


@pytest.fixture
def run(tmp_path):
    """Function that runs `test` or `predict` and returns scores and maps by image."""
    return partial(run_engine, tmp_path)


class Recorded(torch.nn.Module):
    """Encoder that returns recorded features; the pixels of an image contain its row number."""

    def __init__(self, vectors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        layers = [name for name in vectors if name.startswith("in.layer")]
        self.layers = [vectors[name][:, 1:].unflatten(1, (6, 6)) for name in sorted(layers)]
        self.classes = vectors["in.class_tokens"]

    def forward(self, images: torch.Tensor) -> IntermediateFeatures:
        rows = images[:, 0, 0, 0].long()
        return IntermediateFeatures(self.classes[rows], tuple(layer[rows] for layer in self.layers))


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 6, 6)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_reproduces_the_recorded_vectors_of_the_released_code(golden, batch):
    vectors = golden("musc")
    found = MuScModel(Recorded(vectors), image_score="patches").predict_sets([ImageSet(8, numbered(8).split(batch))])
    expected, largest = vectors["out.anomaly_map"] / 2, vectors["out.image_score_max"] / 2
    torch.testing.assert_close(found.maps.flatten(1).double(), expected, **EXACT)
    # the released code scales scores to [0, 1] before smoothing, which gives the same as scaling afterwards
    scaled = (found.scores.double() - largest.min()) / (largest.max() - largest.min())
    torch.testing.assert_close(scaled, vectors["out.image_score_rscin"].double(), **EXACT)


def test_reproduces_the_recorded_vectors_of_the_form_for_pairs(golden):
    vectors = golden("musc_pair")
    model = MuScModel(Recorded(vectors), num_references=1, image_score="patches")
    found = model.predict_patches(numbered(2), torch.tensor([[1], [0]]))
    torch.testing.assert_close(found.maps.flatten(1).double(), vectors["out.anomaly_map"] / 2, **EXACT)
    assert torch.equal(found.scores, found.maps.flatten(1).amax(dim=1))
    by_batch = model(numbered(2))
    torch.testing.assert_close(by_batch.pred_score, found.scores)


def test_one_neighbour_changes_no_score_of_near_copies_in_half_precision(make):
    images = random_images(1) + 1e-3 * random_images(6, seed=1)
    model = make(neighbours=[1], image_score="patches").model
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.predict_sets([ImageSet(6, [images])])
    assert torch.equal(found.scores, found.maps.flatten(1).amax(dim=1))


def largest(maps: torch.Tensor) -> torch.Tensor:
    """Return the largest value of every map after enlarging it as the released code does."""
    return F.interpolate(maps[:, None], (SIZE, SIZE), mode="bilinear", align_corners=True).flatten(1).amax(dim=1)


@torch.no_grad()
@pytest.mark.parametrize("settings", [{"neighbours": [1]}, {"num_references": 1}])
def test_an_image_has_the_largest_value_of_its_map_or_of_its_patches(make, settings):
    images, found = random_images(4), {}
    for image_score in ("map", "patches"):
        prediction = make(**settings, image_score=image_score).model(images)
        found[image_score] = prediction.pred_score
    torch.testing.assert_close(found["map"], prediction.anomaly_map.flatten(1).amax(dim=1), atol=1e-6, rtol=0)
    assert (found["map"] <= found["patches"]).all()
    assert (found["patches"] - found["map"]).max() > 1e-4
    assert torch.equal(make(**settings).model(images).pred_score, found["map"])


def test_another_image_score_is_refused(make):
    with pytest.raises(ValueError, match="Expected image_score to be 'map' or 'patches', but got 'mean'"):
        make(image_score="mean")


def read_all(method: MuSc, root: Path) -> tuple[list[str], torch.Tensor]:
    """Return the names and preprocessed images of the whole test set."""
    dataset = PredictDataset(root / "metal_nut" / "test")
    images = [method.pre_processor.transform(dataset[i].image) for i in range(len(dataset))]
    return ["/".join(path.parts[-2:]) for path in dataset.image_filenames], torch.stack(images)


def by_hand(method: MuSc, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute scores and patch maps of images that are compared with each other."""
    encoder = IntermediateEncoder(method.backbone.visual)
    features = encoder(images)
    maps = mutual_scores(features.layers) / 2
    classes = F.normalize(features.class_embedding, dim=-1)
    return rscin(largest(maps), classes), maps


@torch.no_grad()
def test_a_run_gives_the_mutual_scores_of_the_whole_data_set(make, run, mvtec_root):
    method = make()
    record = run(method, datamodule=metal_nut(mvtec_root, eval_batch_size=2))
    names, images = read_all(method, mvtec_root)
    scores, maps = by_hand(method, images)
    assert record.scores == pytest.approx(dict(zip(names, scores.tolist(), strict=True)), **SAME)
    drawn = draw(maps, (SIZE, SIZE), DRAWINGS["musc"])
    for name, expected in zip(names, drawn, strict=True):
        torch.testing.assert_close(record.maps[name], expected, **EXACT)


@torch.no_grad()
def test_the_plain_module_takes_the_batch_as_the_set(make):
    method, images = make(), random_images(5)
    scores, maps = by_hand(method, images)
    output = method.model(images)
    torch.testing.assert_close(output.pred_score, scores, **EXACT)
    torch.testing.assert_close(output.anomaly_map, draw(maps, (SIZE, SIZE), DRAWINGS["musc"]), **EXACT)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_scores_do_not_depend_on_batch_size(make, run, mvtec_root, whole, batch_size):
    got = run(make(), datamodule=metal_nut(mvtec_root, eval_batch_size=batch_size))
    assert len(got.scores) == 9
    assert got.scores == pytest.approx(whole, **SAME)


@pytest.mark.parametrize(
    ("settings", "batch_size"), [({}, 2), ({"subsets": 3}, 9), ({"num_references": 1}, 9), ({"num_references": 3}, 2)]
)
def test_every_image_is_encoded_once(make, run, mvtec_root, settings, batch_size):
    method, encoded = make(**settings), []
    method.model.encoder.register_forward_hook(lambda _, args, __: encoded.append(len(args[0])))
    run(method, datamodule=metal_nut(mvtec_root, eval_batch_size=batch_size))
    assert sum(encoded) == 9
    if not settings:
        assert max(encoded) == batch_size


@pytest.mark.slow
def test_every_run_is_scored_anew(make, run, mvtec_root, whole, tmp_path):
    write_mvtec(tmp_path, "screw", normal=2, anomalous=3)
    method = make()
    run(method, datamodule=metal_nut(mvtec_root))
    other = run(method, datamodule=metal_nut(tmp_path, category="screw")).scores
    assert other == pytest.approx(run(make(), datamodule=metal_nut(tmp_path, category="screw")).scores, **SAME)
    assert run(method, datamodule=metal_nut(mvtec_root)).scores == pytest.approx(whole, **SAME)


@torch.no_grad()
def test_subsets_are_scored_separately_and_image_scores_are_smoothed_over_all(make, run, mvtec_root, whole):
    method = make(subsets=2, seed=3)
    record = run(method, datamodule=metal_nut(mvtec_root, eval_batch_size=4))
    names, images = read_all(method, mvtec_root)
    maps, features = torch.zeros(9, 3, 3), method.model.encoder(images)
    for subset in random_subsets(names, 2, seed=3):
        maps[list(subset)] = mutual_scores([layer[list(subset)] for layer in features.layers]) / 2
    classes = F.normalize(features.class_embedding, dim=-1)
    scores = rscin(largest(maps), classes)
    assert record.scores == pytest.approx(dict(zip(names, scores.tolist(), strict=True)), **SAME)
    assert record.scores != pytest.approx(whole, **SAME)
    other = run(make(subsets=2, seed=4), datamodule=metal_nut(mvtec_root))
    assert record.scores != pytest.approx(other.scores, **SAME)


@torch.no_grad()
@pytest.mark.parametrize("num_references", [1, 3])
def test_in_groups_each_image_is_scored_only_by_its_references(make, run, mvtec_root, num_references):
    method = make(num_references=num_references, seed=5)
    assert method.kind == Kind.PAIR
    record = run(method, datamodule=metal_nut(mvtec_root))
    names, images = read_all(method, mvtec_root)
    layers = method.model.encoder(images).layers
    scoring = method.references.scoring[0]
    assert min(map(len, scoring.groups)) == num_references + 1
    rows = [names.index("/".join(Path(name).parts[-2:])) for name in scoring.names]
    for group in scoring.groups:
        for place, member in enumerate(group):
            others = [group[(place + step) % len(group)] for step in range(1, num_references + 1)]
            chosen = [rows[i] for i in (member, *others)]
            references = torch.arange(1, len(chosen)).expand(len(chosen), -1)
            score_map = paired_scores([layer[chosen] for layer in layers], references)[0] / 2
            assert record.scores[names[rows[member]]] == pytest.approx(float(largest(score_map[None])), **SAME)


@pytest.mark.slow
def test_the_seed_determines_which_images_score_an_image(make, run, mvtec_root, whole):
    first, same, other = (
        run(make(num_references=1, seed=seed), datamodule=metal_nut(mvtec_root)).scores for seed in (0, 0, 1)
    )
    assert first == same
    assert first != pytest.approx(other, **SAME)
    assert run(make(seed=1), datamodule=metal_nut(mvtec_root)).scores == pytest.approx(whole, **SAME)


@pytest.mark.parametrize(
    ("settings", "count"),
    [*(({}, count) for count in (1, 2, 3)), *(({"subsets": 3}, count) for count in (1, 4)),
     *(({"num_references": 1}, count) for count in (1, 2, 3))],
)  # fmt: skip
def test_data_sets_of_few_images_have_scores(make, run, tmp_path, caplog, settings, count):
    write_mvtec(tmp_path, "metal_nut", normal=count // 2, anomalous=count - count // 2)
    record = run(make(**settings), datamodule=metal_nut(tmp_path, eval_batch_size=2))
    assert len(record.scores) == count
    values = torch.stack([*record.maps.values()])
    assert values.isfinite().all()
    assert all(0 <= score <= 1 for score in record.scores.values())
    assert (values.max() > 0) == (count > 1)
    assert caplog.text.count("gets a score and a map of 0") == (count == 1)
    assert ("do not fill 3 subsets" in caplog.text) == (settings == {"subsets": 3})


def test_text_is_not_encoded(make, run, mvtec_root, monkeypatch):
    method = make(class_name="metal nut")
    encoded = []
    monkeypatch.setattr(method.backbone.clip, "encode_text", encoded.append)
    monkeypatch.setattr(method.backbone.clip.transformer, "forward", encoded.append)
    record = run(method, datamodule=metal_nut(mvtec_root))
    assert not encoded
    assert method.provenance()["class_name"] == "metal nut"
    other = run(make(class_name="carpet", domain="texture"), datamodule=metal_nut(mvtec_root))
    assert other.scores == record.scores


def test_features_on_disk_give_the_same_scores(make, run, mvtec_root, whole, monkeypatch):
    stores = []

    def store(size):
        stores.append(FeatureStore(size, limit=1000))
        return stores[-1]

    monkeypatch.setattr(torch_model, "FeatureStore", store)
    assert run(make(), datamodule=metal_nut(mvtec_root)).scores == pytest.approx(whole, **SAME)
    assert len(stores) == 1
    assert stores[0].folder is not None
    assert not Path(stores[0].folder.name).exists()


def test_a_broken_file_of_a_folder_is_left_out_of_the_set(make, run, tmp_path, caplog):
    for i in range(4):
        write_image(tmp_path / "photos" / f"{i}.png", seed=i, size=(40 + i, 50))
    expected = run(make(), "predict", data_path=tmp_path / "photos").scores
    (tmp_path / "photos" / "2broken.png").write_text("plain text")
    assert run(make(), "predict", data_path=tmp_path / "photos").scores == pytest.approx(expected, **SAME)
    assert "2broken.png" in caplog.text


def test_two_loaders_are_two_sets(make, run, tmp_path):
    expected, loaders = {}, []
    for name, count in (("first", 3), ("second", 4)):
        for i in range(count):
            write_image(tmp_path / name / f"{i}.png", seed=10 * count + i)
        expected |= run(make(), "predict", data_path=tmp_path / name).scores
        dataset = PredictDataset(tmp_path / name)
        loaders.append(DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn))
    assert run(make(), "predict", dataloaders=loaders).scores == pytest.approx(expected, **SAME)


def test_in_a_direct_call_the_batch_is_the_set(make):
    method, images = make(), random_images(3)
    scored = method.predict_step(ImageBatch(image=images), 0)
    assert scored.pred_score.tolist() == pytest.approx(method.model(images).pred_score.tolist(), **SAME)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_images_of_several_sizes_need_the_pre_processor(make, run, tmp_path, batch_size):
    for i, size in enumerate([(48, 48), (48, 64)]):
        write_image(tmp_path / "photos" / f"{i}.png", seed=i, size=size)
    dataset = PredictDataset(tmp_path / "photos")
    loader = DataLoader(dataset, batch_size=batch_size, collate_fn=dataset.collate_fn)
    with pytest.raises(ValueError, match=r"48x48 and 48x64.*Set pre_processor=True"):
        run(make(pre_processor=False), "predict", dataloaders=loader)


def test_layers_neighbourhoods_and_the_rest_reach_the_model(make):
    model = make(layers=[3, 1], r=[1], lowest=0.5, neighbours=[2], num_references=4).model
    assert model.encoder.layers == (1, 3)
    assert (model.r, model.lowest, model.neighbours, model.num_references) == ((1,), 0.5, (2,), 4)


@pytest.mark.parametrize("changes", [{"layers": [1]}, {"r": [1]}, {"lowest": 1.0}, {"neighbours": [1]}])
def test_every_setting_changes_the_scores(make, changes):
    images = random_images(6)
    assert not torch.allclose(make(**changes).model(images).pred_score, make().model(images).pred_score, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"num_references": 0}, "num_references to be a whole number of at least 1.*Set None"),
        ({"num_references": 1.5}, "num_references to be a whole number"),
        ({"subsets": 0}, "subsets to be a whole number of at least 1"),
        ({"subsets": 2.0}, "subsets to be a whole number"),
        ({"r": [1.5]}, "r to be a list of whole numbers"),
        ({"neighbours": [1, 2.5]}, "neighbours to be a list of whole numbers"),
        ({"subsets": 2, "num_references": 1}, "1 where num_references is set"),
        ({"r": [2]}, "odd sides"),
        ({"lowest": -0.1}, r"lowest to be in \[0, 1\]"),
        ({"neighbours": [0]}, "at least 1"),
        ({"layers": [4]}, "blocks from 1 to 3"),
    ],
)
def test_a_bad_argument_is_an_error_that_says_what_was_expected(make, arguments, match):
    with pytest.raises(ValueError, match=match):
        make(**arguments)


def test_the_kind_states_what_a_score_depends_on(make):
    assert make().kind == Kind.TRANSDUCTIVE
    assert make(num_references=2).kind == Kind.PAIR


def test_an_image_need_not_be_square(make, run, mvtec_root):
    record = run(make(image_size=(2 * PATCH, 4 * PATCH)), datamodule=metal_nut(mvtec_root))
    assert {tuple(score_map.shape) for score_map in record.maps.values()} == {(2 * PATCH, 4 * PATCH)}

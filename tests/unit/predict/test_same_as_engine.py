"""The detector and the Lightning model give the same scores."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from torch.utils.data import DataLoader

from dualclip_lightning.images.sources import Failure
from dualclip_lightning.models import DualImageCLIP
from dualclip_lightning.predict.output.prediction import Prediction
from tests.hostile_images import BROKEN, picture, turned, write_corpus
from tests.towers import stem_folder


def through_the_engine(model: DualImageCLIP, folder, tmp_path) -> dict[str, tuple[float, np.ndarray]]:
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "results", enable_progress_bar=False)
    dataset = PredictDataset(folder)
    loader = DataLoader(dataset, batch_size=3, collate_fn=dataset.collate_fn)
    return {
        str(path): (float(score), score_map.numpy())
        for batch in engine.predict(model, dataloaders=loader)
        for path, score, score_map in zip(batch.image_path, batch.pred_score, batch.anomaly_map, strict=True)
    }


LAYERS = {
    "reference_layers": [0.5, 1.0], "reference_path": "ordinary", "neighbourhood": [1, 3], "num_references": 3,
    "reference_fusion": "lowest", "lowest": 0.7, "class_neighbours": [1, 2], "class_weight": 0.6,
}  # fmt: skip
SUBSPACE = {
    "reference_layers": [0.7], "neighbourhood": [3], "neighbourhood_weighting": "similarity", "num_references": 2,
    "reference_fusion": "subspace", "explained_variance": 0.8, "reference_rotations": True,
}  # fmt: skip
OTHER_TOWER = {
    "reference_backbone": "timm:test_vit", "reference_pretrained": "random", "reference_path": "ordinary",
    "reference_layers": [0.5, 1.0], "tta": True,
}  # fmt: skip
STEM = {
    "pretrained": str(stem_folder()), "reference_path": "stem", "reference_fusion": "lowest", "num_references": 3,
    "lowest": 0.7,
}  # fmt: skip
TURNED_STEM = STEM | {"reference_rotations": True, "image_size": [32, 64]}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"num_references": 2, "seed": 3, "temperature": 0.2, "alpha": 0.3, "class_weight": 0.8, "drawing": "musc"},
     {"tta": True}, {"alpha": 1.0}, {"image_size": [32, 64], "vv_blocks": [2, 3], "text_mean": "unit"},
     {"reference": True, "drawing": {"average": 3, "sigma": 5}}, LAYERS, LAYERS | {"reference": True},
     SUBSPACE, OTHER_TOWER | {"reference": True}, STEM | {"reference": True}, TURNED_STEM,
     STEM | {"reference_fusion": "subspace"}],
    ids=lambda arguments: str({name: value for name, value in arguments.items() if name != "pretrained"}),
)  # fmt: skip
def test_scores_and_maps_are_those_of_the_lightning_model(make_detector, shots, tiny_folder, tmp_path, arguments):
    common = {key: value for key, value in arguments.items() if key != "reference"}
    ours, theirs = ({"references": shots}, {"reference_dir": shots}) if "reference" in arguments else ({}, {})
    weights = {"pretrained": str(tiny_folder)} | common
    model = DualImageCLIP(**weights, class_name="plate", visualizer=False, **theirs)
    expected = through_the_engine(model, shots, tmp_path)
    predictions = make_detector(geometry="squash", **common, **ours).predict(shots)
    assert {prediction.name for prediction in predictions} == set(expected)
    for prediction in predictions:
        score, score_map = expected[prediction.name]
        assert prediction.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_allclose(prediction.drawer(prediction.patch_map, score_map.shape), score_map, atol=1e-5)


def test_every_mode_of_image_scores_alike(make_detector, tiny_folder, tmp_path):
    folder = tmp_path / "modes"
    folder.mkdir()
    for mode, name in {
        "RGB": "a.png",
        "L": "b.png",
        "CMYK": "c.jpg",
        "P": "d.png",
        "1": "e.png",
        "I;16": "f.png",
    }.items():
        picture(mode, seed=len(name)).save(folder / name)
    picture("RGBA").save(folder / "g.png")
    deep = np.random.default_rng(0).integers(0, 65536, (40, 56, 3), dtype=np.uint16)
    (folder / "h.png").write_bytes(imagecodecs.png_encode(deep))
    tifffile.imwrite(folder / "i.tif", deep, photometric="rgb", byteorder=">", compression="zlib")
    (folder / "j.jpg").write_bytes(turned())
    tifffile.imwrite(folder / "k.tif", deep[..., 0], photometric="miniswhite")
    model = DualImageCLIP(pretrained=str(tiny_folder), class_name="plate", visualizer=False)
    expected = through_the_engine(model, folder, tmp_path)
    scores = {prediction.name: prediction.score for prediction in make_detector(geometry="squash").predict(folder)}
    assert scores == pytest.approx({name: score for name, (score, _) in expected.items()}, abs=1e-5)


@pytest.mark.parametrize("paired", [{}, {"num_references": 2}, {"alpha": 1.0}])
def test_the_hostile_corpus_scores_alike_and_what_is_broken_is_named(
    make_detector, tiny_folder, tmp_path, caplog, paired
):
    folder = tmp_path / "corpus"
    write_corpus(folder)
    (folder / "dangling.png").unlink()  # with it, anomalib would refuse the whole folder
    model = DualImageCLIP(pretrained=str(tiny_folder), class_name="plate", visualizer=False, **paired)
    with caplog.at_level("WARNING"):
        expected = through_the_engine(model, folder, tmp_path)
    listed = [str(path) for path in PredictDataset(folder).image_filenames]
    outcomes = make_detector(**paired, geometry="squash").predict(listed, errors="return")
    scores = {outcome.name: outcome.score for outcome in outcomes if isinstance(outcome, Prediction)}
    assert scores == pytest.approx({name: score for name, (score, _) in expected.items()}, abs=1e-5)
    failures = {outcome.name: outcome.reason for outcome in outcomes if isinstance(outcome, Failure)}
    assert {name for name in BROKEN if str(folder / name) in listed} < {name.rsplit("/", 1)[1] for name in failures}
    for name, reason in failures.items():
        assert f"{name}: {reason}" in caplog.text


def test_bits_beyond_the_eighth_count_for_every_way_of_reading(make_detector, tiny_folder, tmp_path):
    folder = tmp_path / "deep"
    folder.mkdir()
    plain = np.full((40, 56, 3), 30_000, np.uint16)
    plain[:, ::7] += 100
    scratched = plain.copy()
    scratched[10:20, 5:50] += 60
    images = {"plain": plain, "scratched": scratched}
    for name, values in images.items():
        (folder / f"{name}.png").write_bytes(imagecodecs.png_encode(values))
        tifffile.imwrite(folder / f"{name}.tif", values, photometric="rgb")
    detector = make_detector(alpha=1.0, geometry="squash")
    model = DualImageCLIP(pretrained=str(tiny_folder), class_name="plate", alpha=1.0, visualizer=False)
    engine = through_the_engine(model, folder, tmp_path)
    scores = {}
    for name, values in images.items():
        scores[name] = detector.predict(values).score
        for suffix in ("png", "tif"):
            path = str(folder / f"{name}.{suffix}")
            assert detector.predict(path).score == scores[name]
            assert engine[path][0] == pytest.approx(scores[name], abs=1e-6)
    assert abs(scores["plain"] - scores["scratched"]) > 1e-5

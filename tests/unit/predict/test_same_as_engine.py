"""The detector and the Lightning model are two ways to one score."""

from __future__ import annotations

import numpy as np
import pytest
from anomalib.data import PredictDataset
from anomalib.engine import Engine
from torch.utils.data import DataLoader

from dualclip_lightning.models import DualImageCLIP
from dualclip_lightning.predict.prediction import draw_map
from tests.hostile_images import picture


def through_the_engine(model: DualImageCLIP, folder, tmp_path) -> dict[str, tuple[float, np.ndarray]]:
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path / "results", enable_progress_bar=False)
    dataset = PredictDataset(folder)
    loader = DataLoader(dataset, batch_size=3, collate_fn=dataset.collate_fn)
    return {
        str(path): (float(score), score_map.numpy())
        for batch in engine.predict(model, dataloaders=loader)
        for path, score, score_map in zip(batch.image_path, batch.pred_score, batch.anomaly_map, strict=True)
    }


@pytest.mark.parametrize(
    "arguments",
    [{}, {"num_references": 2, "seed": 3, "temperature": 0.2, "alpha": 0.3, "class_weight": 0.8}, {"tta": True},
     {"alpha": 1.0}, {"image_size": [32, 64], "vv_blocks": [2, 3]}, {"reference": True}],
    ids=str,
)  # fmt: skip
def test_scores_and_maps_are_those_of_the_lightning_model(make_detector, shots, tiny_folder, tmp_path, arguments):
    common = {key: value for key, value in arguments.items() if key != "reference"}
    ours, theirs = ({"references": shots}, {"reference_dir": shots}) if "reference" in arguments else ({}, {})
    model = DualImageCLIP(pretrained=str(tiny_folder), class_name="plate", visualizer=False, **common, **theirs)
    expected = through_the_engine(model, shots, tmp_path)
    predictions = make_detector(geometry="squash", **common, **ours).predict(shots)
    assert {prediction.name for prediction in predictions} == set(expected)
    for prediction in predictions:
        score, score_map = expected[prediction.name]
        assert prediction.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_allclose(draw_map(prediction.patch_map, score_map.shape), score_map, atol=1e-5)


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
    model = DualImageCLIP(pretrained=str(tiny_folder), class_name="plate", visualizer=False)
    expected = through_the_engine(model, folder, tmp_path)
    scores = {prediction.name: prediction.score for prediction in make_detector(geometry="squash").predict(folder)}
    assert scores == pytest.approx({name: score for name, (score, _) in expected.items()}, abs=1e-5)

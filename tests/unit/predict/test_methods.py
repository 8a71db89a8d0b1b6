"""Every registered method that scores single images or pairs gives the same scores as in anomalib's Engine."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import numpy as np
import pytest
import torch

from dualclip_lightning.models import ClipAD, DualImageCLIP
from dualclip_lightning.predict import Detector
from dualclip_lightning.predict.limits import METHOD, OF_METHOD
from dualclip_lightning.predict.options import main
from dualclip_lightning.predict.scoring.dual_image_clip import _dual_image_clip
from dualclip_lightning.predict.scoring.registered import UNFIT
from dualclip_lightning.registry import MODELS
from dualclip_lightning.scoring.dual_image import DualImageScoring
from tests.unit.predict.test_same_as_engine import through_the_engine

OFFERED = {
    "AnoCLIP": [{}, {"views": False, "steps": 0, "temperature": 0.1}, {"adapter": "linear", "seed": 3}],
    "ClipAD": [{}, {"temperature": 0.05, "drawing": {"sigma": 2}, "representative": "mean"}],
    "ClipZeroShot": [{}, {"text_mean": "raw", "image_size": [32, 64]}],
    "DualImageCLIP": [{}, {"alpha": 0.3, "num_references": 2}],
    "MuSc": [{"num_references": 1}, {"num_references": 2, "r": [1, 3], "image_score": "patches"}],
    "WindowCLIP": [{}, {"scales": [2], "domain": "texture"}],
}
CASES = [(name, arguments) for name, choices in OFFERED.items() for arguments in choices]


def constructor(name: str):
    return getattr(import_module(MODELS[name]), name)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - OFFERED.keys()))
def test_a_method_that_is_not_offered_needs_a_whole_set(make_detector, name):
    with pytest.raises(ValueError, match=f"{name} is transductive, .* Use DualImageCLIP"):
        make_detector(method=name)


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_scores_and_maps_are_those_of_the_engine(make_detector, shots, tiny_folder, tmp_path, name, arguments):
    method = constructor(name)(pretrained=str(tiny_folder), class_name="plate", visualizer=False, **arguments)
    expected = through_the_engine(method, shots, tmp_path)
    predictions = make_detector(method=name, geometry="squash", **arguments).predict(shots)
    assert {prediction.name for prediction in predictions} == set(expected)
    for prediction in predictions:
        score, score_map = expected[prediction.name]
        assert prediction.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_allclose(prediction.drawer(prediction.patch_map, score_map.shape), score_map, atol=1e-5)


@pytest.mark.parametrize("name", sorted(OFFERED.keys() - {METHOD, "MuSc"}))
@pytest.mark.parametrize("geometry", ["keep", "tiles"])
def test_other_geometries_give_a_map_of_the_image(make_detector, shots, name, geometry):
    prediction = make_detector(method=name, geometry=geometry).predict(shots / "2.png")
    assert prediction.map.shape == prediction.size == (90, 31)
    assert 0 <= prediction.score <= 1
    assert prediction.references == ()


def test_a_pair_method_compares_with_the_given_references(make_detector, shots):
    chosen = {"method": "MuSc", "geometry": "squash"}
    folder = make_detector(reference_dir=[shots / "1.png"], **chosen).predict(shots / "0.png")
    stream = make_detector(compare_with="stream", bank_size=1, **chosen)
    stream.predict(shots / "1.png")
    assert folder.references == (str(shots / "1.png"),)
    assert stream.predict(shots / "0.png").score == pytest.approx(folder.score, abs=1e-6)


def trained(tiny_folder, path, **arguments):
    """Write a checkpoint as training does, with random layers, and return the method."""
    method = ClipAD(pretrained=str(tiny_folder), class_name="plate", variant="sdp+", visualizer=False, **arguments)
    method.trained_on = ({"dataset": "Other", "categories": ["a"]},)
    checkpoint = {"state_dict": method.state_dict()}
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return method


def test_trained_layers_come_from_a_checkpoint(make_detector, shots, tiny_folder, tmp_path):
    method = trained(tiny_folder, tmp_path / "layers.ckpt", seed=5)
    expected = through_the_engine(method, shots, tmp_path)
    chosen = {"method": "ClipAD", "variant": "sdp+", "geometry": "squash"}
    detector = make_detector(checkpoint=tmp_path / "layers.ckpt", **chosen)  # its seed would give other layers
    for prediction in detector.predict(shots):
        assert prediction.score == pytest.approx(expected[prediction.name][0], abs=1e-5)
    assert detector.settings["layers_sha256"] == method.provenance()["layers_sha256"]
    with pytest.raises(ValueError, match="Set backbone, pretrained and stages as they were in training"):
        make_detector(checkpoint=tmp_path / "layers.ckpt", stages=[1, 3], **chosen)
    (tmp_path / "broken.ckpt").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"Cannot read a checkpoint from '.*broken\.ckpt'"):
        make_detector(checkpoint=tmp_path / "broken.ckpt", **chosen)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "WinClip"}, r"Unknown method 'WinClip'\. Did you mean 'WindowCLIP'\?"),
        ({"method": "Xyz"}, r"Unknown method 'Xyz'\. There are AnoCLIP, .*WindowCLIP\."),
        ({"method": "AnoCLIP", "vievs": False}, "AnoCLIP has no argument 'vievs' here. Did you mean 'views'?"),
        ({"alhpa": 0.3}, "DualImageCLIP has no argument 'alhpa' here. Did you mean 'alpha'?"),
        ({"method": "WinCLIP", "alpha": 0.3}, "WindowCLIP has no argument 'alpha' here"),
        ({"method": "WinCLIP", "num_references": 1}, "WindowCLIP has no argument 'num_references' here"),
        ({"method": "WinCLIP", "resize": "crop"}, "WindowCLIP has no argument 'resize' here"),
        ({"method": "WinCLIP", "temperature": -1}, "temperature to be a number above 0"),
        ({"method": "WinCLIP", "spatial_window": 0.1}, "WindowCLIP has no spatial_window"),
        ({"method": "WinCLIP", "compare_with": "stream"}, "scores each image by itself. Leave compare_with='stream'"),
        ({"method": "WinCLIP", "checkpoint": "a.ckpt"}, "WindowCLIP has no layers that are trained"),
        ({"checkpoint": "a.ckpt"}, "DualImageCLIP has no layers that are trained"),
        ({"method": "WinCLIP", "k_shot": 2}, "known to be normal. Leave it out, or use DualImageCLIP"),
        ({"method": "AnoCLIP", "carry_optimizer": True}, "order of all images of a run. Leave it out"),
        ({"method": "ClipAD", "normalize_scores": True}, "depend on all images of a set. Leave it out, or use 'dualcl"),
        ({"method": "ClipAD", "variant": "sdp+"}, "are trained as it is set.* Give checkpoint"),
        ({"method": "MuSc"}, "compares all images of a set.* Set num_references to 1 for MuSc-2"),
        ({"method": "MuSc", "num_references": 1, "geometry": "keep"}, "Set geometry to 'squash'"),
        ({"method": "MuSc", "num_references": 1, "compare_with": "none"}, "num_references' here|only by others"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_a_detector_does_not_support_are_refused_with_the_alternative(make_detector, arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        make_detector(**{"geometry": "squash"} | arguments)
    assert "\n" not in str(refused.value)


def test_arguments_that_do_not_fit_are_still_arguments_of_their_method():
    for name, argument in UNFIT:
        assert argument in inspect.signature(constructor(name)).parameters


def test_defaults_are_those_of_the_lightning_model():
    model = {name: parameter.default for name, parameter in inspect.signature(DualImageCLIP).parameters.items()}
    own = {name: parameter.default for name, parameter in inspect.signature(_dual_image_clip).parameters.items()}
    del own["common"]
    assert own.items() <= model.items()
    assert OF_METHOD.items() <= model.items()
    assert (model["temperature"], model["alpha"], model["class_weight"]) == (
        DualImageScoring().temperature, DualImageScoring().alpha, DualImageScoring().class_weight,
    )  # fmt: skip
    assert inspect.signature(Detector).parameters["method"].default == METHOD


@pytest.fixture
def place(shots, tiny_folder, tmp_path, monkeypatch):
    """Function that runs the command below a folder and returns the status and the record of the run."""
    monkeypatch.chdir(tmp_path)

    def predict(*arguments):
        status = main([str(shots), "--pretrained", str(tiny_folder), "--device", "cpu", *arguments])
        return status, json.loads((tmp_path / arguments[1] / "run.json").read_text())

    return predict


@pytest.mark.slow
def test_the_command_takes_a_method_and_records_it(place, shots, tmp_path, make_detector):
    chosen = ("--class-name", "plate", "--method", "AnoCLIP", "--set", "views=false", "--set", "learning_rate=1e-2")
    status, record = place("--out", "out", *chosen, "--threshold", "none")
    assert status == 0
    detector = make_detector(method="AnoCLIP", views=False, learning_rate=0.01)
    assert record["settings"] == json.loads(json.dumps(detector.settings))
    assert record["settings"]["method"] == "AnoCLIP"
    assert record["settings"]["arguments"].items() >= {"views": False, "learning_rate": 0.01, "steps": 5}.items()
    assert record["options"]["arguments"] == {"views": False, "learning_rate": 0.01}
    scores = {
        row.split(",")[0]: row.split(",")[1] for row in (tmp_path / "out" / "scores.csv").read_text().splitlines()
    }
    for prediction in detector.predict(shots):
        assert float(scores[prediction.name]) == pytest.approx(prediction.score, abs=1e-5)
    assert main([str(shots), "--from", "out", "--out", "next", "--device", "cpu", "--threshold", "0.5"]) == 0
    assert json.loads((tmp_path / "next" / "run.json").read_text())["settings"] == record["settings"]


def test_a_threshold_file_of_another_method_gives_its_settings(place, shots, tmp_path, make_detector):
    detector = make_detector(method="WinCLIP", scales=[2], temperature=0.1)
    detector.calibrate(shots).save(tmp_path / "mine.json")
    assert main([str(shots), "--from", "mine.json", "--out", "next", "--device", "cpu"]) == 0
    record = json.loads((tmp_path / "next" / "run.json").read_text())
    assert record["settings"] == json.loads(json.dumps(detector.settings))


def test_the_default_method_takes_further_arguments_too(place, make_detector):
    _, record = place("--out", "out", "--set", "vv_blocks=[2,3]", "--set", "tta={steps: 1}", "--class-name", "plate",
                      "--threshold", "none")  # fmt: skip
    detector = make_detector(vv_blocks=[2, 3], tta={"steps": 1})
    assert record["settings"] == json.loads(json.dumps(detector.settings))


def test_the_comparison_is_set_by_the_command_and_read_from_a_former_threshold(place, make_detector, shots, tmp_path):
    chosen = {"reference_layers": [0.5, 1.0], "reference_path": "ordinary", "neighbourhood": [1, 3],
              "reference_fusion": "lowest", "class_neighbours": [1, 2]}  # fmt: skip
    said = [part for name, value in chosen.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    _, record = place("--out", "out", *said, "--num-references", "2", "--class-name", "plate", "--threshold", "none")
    detector = make_detector(num_references=2, **chosen)
    assert record["settings"] == json.loads(json.dumps(detector.settings))
    detector.calibrate(shots).save(tmp_path / "mine.json")
    assert main([str(shots), "--from", "mine.json", "--out", "next", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "next" / "run.json").read_text())["settings"] == record["settings"]


def test_another_tower_is_set_by_the_command_and_read_from_a_former_threshold(place, make_detector, shots, tmp_path):
    chosen = {"reference_backbone": "timm:test_vit", "reference_pretrained": "random", "reference_path": "ordinary"}
    said = [part for name, value in chosen.items() for part in ("--set", f"{name}={value}")]
    _, record = place("--out", "out", *said, "--class-name", "plate", "--threshold", "none")
    detector = make_detector(**chosen)
    assert record["settings"] == json.loads(json.dumps(detector.settings))
    assert record["settings"]["reference_backbone"].keys() == {"backbone", "weights", "weights_sha256"}
    detector.calibrate(shots).save(tmp_path / "mine.json")
    assert main([str(shots), "--from", "mine.json", "--out", "next", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "next" / "run.json").read_text())["settings"] == record["settings"]


def test_a_threshold_of_another_comparison_is_refused(make_detector, shots):
    threshold = make_detector(num_references=2).calibrate(shots)
    with pytest.raises(ValueError, match="made with other settings: comparison"):
        make_detector(num_references=2, reference_fusion="lowest", threshold=threshold)
    assert make_detector(num_references=2, neighbourhood=[1], threshold=threshold).threshold == threshold


@pytest.mark.parametrize(
    "arguments", [{"reference_rotations": True}, {"reference_fusion": "subspace"}], ids=lambda each: next(iter(each))
)
def test_places_and_what_has_none_exclude_each_other(make_detector, arguments):
    with pytest.raises(ValueError, match=r"spatial_window compares patches at one place.* Leave one of them out"):
        make_detector(spatial_window=0.1, **arguments)


@pytest.mark.parametrize("mode", [{"compare_with": "stream", "bank_size": 3}, {"geometry": "tiles"}])
def test_layers_and_their_fusion_work_in_streams_and_tiles(make_detector, shots, mode):
    chosen = {
        "reference_layers": [0.5, 1.0],
        "neighbourhood": [1, 3],
        "reference_fusion": "lowest",
        "num_references": 2,
    }
    grown = make_detector(**mode, **chosen, class_neighbours=[1, 2]).predict(shots)
    plain = make_detector(**mode, num_references=2).predict(shots)
    assert [each.references for each in grown] == [each.references for each in plain]
    for ours, theirs in zip(grown, plain, strict=True):
        assert (ours.score != theirs.score) == bool(ours.references)
        assert 0 <= ours.score <= 1
        assert ours.patch_map.shape == theirs.patch_map.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "Winclip"], "Unknown method 'Winclip'. Did you mean 'WindowCLIP'?"),
        (["--set", "views"], "expected NAME=VALUE, such as views=false, but got 'views'"),
        (["--set", "alpha=0.3", "--alpha", "0.4"], "--set alpha and --alpha exclude each other"),
        (["--set", "seed=3"], "give --seed instead of --set seed"),
    ],
)
def test_a_typing_error_gives_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["shots", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err

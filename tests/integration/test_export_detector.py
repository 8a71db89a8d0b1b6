"""Exported detectors beside the detectors, in onnxruntime and in OpenVINO."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualclip_lightning import Detector
from dualclip_lightning.cli import main
from dualclip_lightning.predict.bundle.file import read_bundle
from dualclip_lightning.predict.export import exporting
from dualclip_lightning.predict.export.provenance import output_names
from tests.runtimes import in_onnxruntime, in_openvino
from tests.towers import shallow_folder, stem_folder, write_image

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
openvino = pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
FORMS = {
    "text": {"compare_with": "none", "threshold": None},
    "references": {},
    "layers": {"reference_layers": [0.5, 1.0], "reference_path": "ordinary", "neighbourhood": [3],
               "neighbourhood_weighting": "similarity", "reference_fusion": "lowest", "class_neighbours": [1, 3],
               "drawing": "subspacead"},
    "subspace": {"reference_fusion": "subspace", "reference_rotations": True, "image_size": (64, 48),
                 "drawing": "clip_ad", "preprocessing": {"interpolation": "bilinear"}},
    "another tower": {"reference_backbone": "timm:test_vit", "reference_pretrained": "random",
                      "reference_path": "ordinary", "threshold": 0.4},
    "convolutional network": {"reference_backbone": "timm:test_resnet", "reference_pretrained": "random",
                              "reference_path": "ordinary", "reference_layers": [0.5, 1.0], "neighbourhood": [3],
                              "neighbourhood_weighting": "similarity", "reference_fusion": "subspace",
                              "reference_rotations": True, "image_size": (64, 48), "drawing": "clip_ad",
                              "preprocessing": {"interpolation": "bilinear"}},
    "stem": {"pretrained": str(stem_folder()), "reference_path": "stem", "reference_fusion": "lowest",
             "spatial_window": 0.5, "class_neighbours": [1, 3], "drawing": "subspacead"},
    "ClipZeroShot": {"method": "ClipZeroShot"},
    "ClipAD": {"method": "ClipAD"},
    "AnoCLIP": {"method": "AnoCLIP", "steps": 0, "views": False},
    "WindowCLIP": {"method": "WindowCLIP"},
}  # fmt: skip
IN_FILE, BY_COMMAND = "convolutional network", "stem"
"""Forms that are exported; together with those of test_export they have the operations of all others."""
SIZES = ((1, 48, 48), (3, 70, 31), (2, 9, 120))
"""Numbers, heights and widths of batches."""


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    for i in range(4):
        write_image(folder / f"{i}.png", seed=50 + i, size=(50, 40 + i))
    return folder


@pytest.fixture
def make(references, tmp_path, monkeypatch):
    """Function that makes a bundle of squashed images in an empty folder, and loads it."""
    monkeypatch.chdir(tmp_path)

    def build(form):
        arguments = FORMS[form]
        given = {} if "method" in arguments or "compare_with" in arguments else {"reference_dir": str(references)}
        common = {"pretrained": str(shallow_folder()), "device": "cpu", "geometry": "squash"}
        detector = Detector("plate", **common | given | arguments)
        if "threshold" not in arguments:
            detector.calibrate(list(images(12, 40, 52)), false_alarm_rate=0.7)
        detector.save("plate.dualclip")
        return Detector.load("plate.dualclip", device="cpu")

    return build


def images(count: int, height: int, width: int) -> np.ndarray:
    """Random images of few colours, so that their scores differ: [count, height, width, 3], bytes."""
    generator = np.random.default_rng(count)
    coarse = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height))) for each in coarse])


def as_input(pixels: np.ndarray) -> dict[str, np.ndarray]:
    return {"image": pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255}


@pytest.mark.parametrize("form", [pytest.param(form, marks=[pytest.mark.slow] * (form == IN_FILE)) for form in FORMS])
def test_the_graph_gives_the_scores_maps_and_decisions_of_the_detector(make, form, monkeypatch):
    monkeypatch.setattr("dualclip_lightning.predict.detector.export_graph", lambda graph, *_, **__: graph)
    detector = make(form)
    graph = detector.export("plate.onnx")

    def run(batch):
        with torch.no_grad():
            found = graph(torch.from_numpy(batch["image"]))
        return dict(zip(output_names(graph), [each.numpy() for each in found], strict=True))

    assert_equal_batches(detector, output_names(graph), [run])


@pytest.mark.slow
def test_a_file_gives_the_scores_maps_and_decisions_of_the_detector(make):
    detector = make(IN_FILE)
    exported = detector.export("plate.onnx")
    assert exported.difference < 1e-5
    assert_equal_batches(detector, exported.outputs, [in_onnxruntime("plate.onnx"), in_openvino("plate.onnx")])


def assert_equal_batches(detector, outputs, runners) -> None:
    """Compare what runs without the detector with it."""
    decided = set()
    for size in SIZES:
        pixels = images(*size)
        expected = detector.predict(pixels)
        for run in runners:
            decided |= assert_equal(run(as_input(pixels)), expected, outputs)
    if detector.threshold is None:
        assert not decided
    elif detector.threshold.kind == "good" and detector.settings["method"] != "AnoCLIP":
        assert decided == {"anomalous", "normal"}


def assert_equal(found, expected, outputs) -> set[str]:
    """Check what a runtime computed against predictions, and return its decisions."""
    assert tuple(found) == outputs
    np.testing.assert_allclose(found["score"], [each.score for each in expected], atol=1e-5)
    np.testing.assert_allclose(found["map"], np.stack([each.map for each in expected]), atol=1e-5)
    if "decision" not in found:
        assert all(each.decision is None for each in expected)
        return set()
    words = ["anomalous" if each else "normal" for each in found["decision"]]
    assert words == [each.decision for each in expected]
    return set(words)


@pytest.mark.slow
def test_the_command_writes_what_python_writes_in_both_formats_and_the_readme_runs_it(make, capsys, monkeypatch):
    detector = make(BY_COMMAND)
    assert main(["export", "--bundle", "plate.dualclip", "--out", "plate.onnx"]) == 0
    printed = capsys.readouterr().out
    assert "image [batch, 3, height, width] -> score, map, decision" in printed
    runners = [in_onnxruntime("plate.onnx"), in_openvino("plate.onnx")]
    assert_equal_batches(detector, ("score", "map", "decision"), runners)
    Path("shots").mkdir()
    Image.fromarray(images(1, 60, 80)[0]).save("shots/01.png")
    said = {}
    monkeypatch.setattr("builtins.print", lambda *values: said.update(values=values))
    exec(readme_example(), {})  # noqa: S102 - our own document
    expected = detector.predict("shots/01.png")
    score, decision, shape = said["values"]
    assert score == pytest.approx(expected.score, abs=1e-5)
    assert bool(decision) == (expected.decision == "anomalous")
    assert shape == (60, 80)
    import onnx

    metadata = onnxruntime.InferenceSession("plate.onnx").get_modelmeta().custom_metadata_map
    assert_describes(metadata)
    (opset,) = (each.version for each in onnx.load("plate.onnx").opset_import if not each.domain)
    assert metadata["opset"] == str(opset)

    monkeypatch.setattr(exporting, "write_onnx", lambda _graph, path, _metadata: shutil.copy("plate.onnx", path))
    assert_openvinos_own_format_gives_the_same_and_says_what_it_is(detector)


def assert_openvinos_own_format_gives_the_same_and_says_what_it_is(detector) -> None:
    exported = detector.export("plate.xml")
    assert [path.name for path in exported.files] == ["plate.xml", "plate.bin"]
    pixels = images(*SIZES[1])
    assert_equal(in_openvino("plate.xml")(as_input(pixels)), detector.predict(pixels), exported.outputs)
    model = openvino.Core().read_model("plate.xml")
    said = model.get_rt_info(["dualclip_lightning"]).value
    assert_describes({name: model.get_rt_info(["dualclip_lightning", name]).astype(str) for name in said})


def assert_describes(said) -> None:
    """Check metadata against the bundle from which the file was made."""
    bundle = read_bundle("plate.dualclip")
    assert json.loads(said["settings"]) == bundle.settings
    assert json.loads(said["settings"])["weights_sha256"]
    assert json.loads(said["references"]) == list(bundle.references)
    assert said["features_sha256"] == bundle.features_digest
    threshold = {key: value for key, value in bundle.threshold.items() if key != "settings"}
    assert json.loads(said["threshold"]) == threshold
    assert json.loads(said["versions"]).items() >= bundle.versions.items()
    assert "48x48" in said["input.image"]


def readme_example() -> str:
    """Return the example of the document that uses onnxruntime."""
    import dualclip_lightning

    document = Path(dualclip_lightning.__file__).parent / "predict" / "export" / "README.md"
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (example,) = (block for block in blocks if "onnxruntime" in block)
    assert "dualclip" not in example
    assert len(example.splitlines()) <= 10
    return example

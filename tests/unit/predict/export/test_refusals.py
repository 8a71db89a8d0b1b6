"""What cannot be exported is refused in one sentence, before anything is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dualclip_lightning.predict import Threshold
from dualclip_lightning.predict.export.graph import below
from dualclip_lightning.predict.export.options import main as export
from tests.towers import write_image


@pytest.fixture
def make(make_detector, tmp_path, monkeypatch):
    """Function that makes a detector of squashed images in a folder with two references."""
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        write_image(tmp_path / "references" / f"{i}.png", seed=50 + i)
    return lambda **arguments: make_detector(**{"geometry": "squash"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"geometry": "keep", "reference_dir": "references"}, "views depend on the size of an image; set geometry='sq"),
        ({"geometry": "tiles", "compare_with": "none"}, "with the geometry 'tiles', views depend"),
        ({}, "compares the images of a call with each other; set reference_dir to images of the product"),
        ({"compare_with": "stream"}, "compares an image with those before it; set reference_dir"),
        ({"compare_with": "none", "tta": True}, "takes gradients at test time; set tta to false"),
        ({"compare_with": "none", "drawing": {"sigma": 20.0}}, "set a smaller sigma or radius"),
        ({"method": "MuSc", "num_references": 1}, "compares whole images, and a file holds only features of"),
        ({"method": "MuSc", "reference_dir": "references"}, "use DualImageCLIP"),
        ({"method": "AnoCLIP", "views": False}, "set steps to 0"),
        ({"method": "AnoCLIP", "steps": 0}, "set views to false"),
    ],
)
def test_detectors_that_are_no_function_of_an_image(make, arguments, reason):
    detector = make(**arguments)
    with pytest.raises(ValueError, match="cannot be exported with these settings: .*" + re.escape(reason)):
        detector.export("plate.onnx")
    assert [path.name for path in Path().iterdir()] == ["references"]


@pytest.mark.parametrize(
    ("compared", "arguments"), [(False, {"reference_dir": "references"}), (True, {"compare_with": "none"})]
)
def test_a_threshold_of_other_scores(make, compared, arguments):
    detector = make(**arguments, threshold=Threshold(0.5, compared=compared))
    with pytest.raises(ValueError, match="its threshold does not decide such images"):
        detector.export("plate.onnx")


@pytest.mark.parametrize(
    ("name", "missing", "sentence"),
    [
        ("plate.onnx", "onnxruntime", 'needs onnxruntime. Run `pip install "dualclip_lightning[export]"`.'),
        ("plate.onnx", "onnx", 'needs onnx. Run `pip install "dualclip_lightning[export]"`.'),
        ("plate.xml", "openvino", 'needs openvino. Run `pip install "dualclip_lightning[openvino]"`.'),
    ],
)
def test_a_missing_package(make, monkeypatch, capsys, name, missing, sentence):
    make(compare_with="none").save("plate.dualclip")
    monkeypatch.setattr("dualclip_lightning.utilities.extras.find_spec", lambda each: None if each == missing else sys)
    with pytest.raises(ImportError, match=re.escape(sentence)):
        make(compare_with="none").export(name)
    assert export(["--bundle", "plate.dualclip", "--out", name]) == 2
    assert capsys.readouterr().err == f"dualclip: This export {sentence}\n"
    assert not Path(name).exists()


@pytest.mark.parametrize(
    ("name", "existing", "sentence"),
    [
        ("plate.pt", None, "Expected a file with the suffix .onnx (ONNX) or .xml (OpenVINO), but got 'plate.pt'."),
        ("plate.onnx", "plate.onnx", "There is a file 'plate.onnx' already. Set overwrite=True (--overwrite)"),
        ("plate.xml", "plate.bin", "There is a file 'plate.bin' already."),
        ("references.onnx", "references.onnx/1.png", "Expected the name of a file, but 'references.onnx' is a folder."),
    ],
)
def test_a_file_that_cannot_be_written(make, capsys, name, existing, sentence):
    make(compare_with="none").save("plate.dualclip")
    if existing:
        Path(existing).parent.mkdir(exist_ok=True)
        Path(existing).write_text("something dear")
    assert export(["--bundle", "plate.dualclip", "--out", name]) == 2
    assert sentence in capsys.readouterr().err
    assert not existing or Path(existing).read_text() == "something dear"


def test_the_command_answers_refusals_in_one_line(make, capsys):
    make(reference_dir="references", geometry="keep").save("plate.dualclip")
    assert export(["--quiet", "--bundle", "plate.dualclip", "--out", "plate.onnx"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualclip: DualImageCLIP cannot be exported with these settings: with the geometry 'keep'")
    assert export(["--quiet", "--bundle", "gone.dualclip", "--out", "plate.onnx"]) == 2
    assert "There is no bundle 'gone.dualclip'" in capsys.readouterr().err


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7000000000000001, 1 / 3, 0.0])
def test_the_rounded_threshold_divides_the_scores_of_single_precision_alike(threshold):
    import numpy as np

    rounded = np.float32(below(threshold))
    near = [rounded, np.nextafter(rounded, np.float32(1)), np.nextafter(rounded, np.float32(0))]
    assert float(rounded) <= threshold
    assert [bool(score > rounded) for score in near] == [float(score) > threshold for score in near]

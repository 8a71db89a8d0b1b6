"""What becomes of existing files, without the time that an export takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dualclip_lightning.predict.export import exporting


@pytest.fixture
def detector(make_detector, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_detector(compare_with="none", geometry="squash", threshold=0.5)


@pytest.fixture(autouse=True)
def differs(monkeypatch):
    """Write text instead of a graph; the function sets by how much that seems to differ from PyTorch."""

    def set_difference(difference: float) -> None:
        monkeypatch.setattr(exporting, "largest_difference", lambda _, text: difference if text == "a graph" else 1)

    monkeypatch.setattr(exporting, "write_onnx", lambda _graph, path, _metadata: path.write_text("a graph"))
    monkeypatch.setattr(exporting, "load", Path.read_text)
    set_difference(0.0)
    return set_difference


def test_an_existing_file_is_replaced_if_that_is_asked_for(detector):
    Path("plate.onnx").write_text("something old")
    with pytest.raises(FileExistsError, match="--overwrite"):
        detector.export("plate.onnx")
    assert Path("plate.onnx").read_text() == "something old"
    assert detector.export("plate.onnx", overwrite=True).outputs == ("score", "map", "decision")
    assert Path("plate.onnx").read_text() == "a graph"


@pytest.mark.parametrize("difference", [1.1e-4, 0.5, float("nan")])
def test_a_file_that_differs_from_pytorch_is_not_kept(detector, differs, difference):
    differs(difference)
    Path("plate.onnx").write_text("something dear")
    said = re.escape(f"differs from PyTorch by up to {difference:.1e}, so it was not kept")
    with pytest.raises(RuntimeError, match=said):
        detector.export("plate.onnx", overwrite=True)
    assert Path("plate.onnx").read_text() == "something dear"
    assert [path.name for path in Path().iterdir()] == ["plate.onnx"]


def test_a_file_within_the_tolerance_is_kept(detector, differs):
    differs(0.9e-4)
    assert detector.export("plate.onnx").difference == 0.9e-4
    assert [path.name for path in Path().iterdir()] == ["plate.onnx"]


def test_a_detector_with_a_threshold_of_each_call_gives_scores_and_says_so(detector, caplog):
    detector.threshold = "auto"
    assert detector.export("plate.onnx").outputs == ("score", "map")
    assert "so the file has scores without decisions" in caplog.text

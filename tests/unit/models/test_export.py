"""The error of an export if a package that it needs is missing."""

from __future__ import annotations

import sys

import pytest

from dualclip_lightning import ClipZeroShot


@pytest.mark.parametrize(
    ("kind", "missing", "sentence"),
    [
        ("to_onnx", ["onnx"], 'needs onnx. Run `pip install "dualclip_lightning[export]"`.'),
        ("to_onnx", ["onnxscript"], 'needs onnxscript. Run `pip install "dualclip_lightning[export]"`.'),
        ("to_onnx", ["onnx", "onnxscript"], "needs onnx and onnxscript. Run"),
        ("to_openvino", ["openvino"], 'needs openvino. Run `pip install "dualclip_lightning[openvino]"`.'),
        ("to_openvino", ["onnx"], 'needs onnx. Run `pip install "dualclip_lightning[openvino]"`.'),
    ],
)
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    tiny_folder, monkeypatch, tmp_path, kind, missing, sentence
):
    for name in ("onnx", "onnxscript", "openvino"):
        monkeypatch.setitem(sys.modules, name, None if name in missing else sys)
    monkeypatch.setattr("dualclip_lightning.utilities.extras.find_spec", sys.modules.get)
    method = ClipZeroShot(pretrained=str(tiny_folder), class_name="screw", visualizer=False)
    with pytest.raises(ImportError) as refusal:
        getattr(method, kind)(tmp_path)
    assert sentence in str(refusal.value)
    assert not list(tmp_path.iterdir())

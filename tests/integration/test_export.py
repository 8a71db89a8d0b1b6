"""Export of the methods whose score depends only on the image, and the refusal of the others."""

from __future__ import annotations

import pytest
import torch
from anomalib.deploy import ExportType
from anomalib.engine import Engine

from dualclip_lightning import AnoCLIP, ClipAD, ClipZeroShot, DualImageCLIP, MuSc, WinCLIP
from tests.runtimes import in_onnxruntime, in_openvino
from tests.towers import SIZE, shallow_folder

ALONE = [
    (DualImageCLIP, {"alpha": 1.0}), (ClipZeroShot, {}), (AnoCLIP, {"steps": 0, "views": False}),
    (WinCLIP, {"scales": [2]}), (ClipAD, {}),
]  # fmt: skip


@pytest.fixture
def make():
    def build(method, **arguments):
        return method(
            **{"pretrained": str(shallow_folder()), "class_name": "screw", "visualizer": False} | arguments
        ).eval()

    return build


def images(count):
    """Images with values between 0 and 1, as read from a file."""
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "arguments"), ALONE)
def test_a_file_of_torch_gives_the_same_scores(make, method, arguments, tmp_path):
    model = make(method, **arguments)
    path = Engine(logger=False, default_root_dir=tmp_path).export(model, ExportType.TORCH, export_root=tmp_path)
    loaded = torch.load(path, weights_only=False)["model"].eval()
    with torch.no_grad():
        ours, theirs = model(images(3)), loaded(images(3))
    torch.testing.assert_close(theirs.pred_score, ours.pred_score, atol=1e-6, rtol=0)
    torch.testing.assert_close(theirs.anomaly_map, ours.anomaly_map, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "arguments", "kind"),
    # anomalib converts a file of ONNX to OpenVINO, so one method shows it.
    [(*case, ExportType.OPENVINO if case[0] is ClipZeroShot else ExportType.ONNX) for case in ALONE],
)
def test_a_file_of_a_runtime_gives_the_same_scores_for_any_number_of_images(make, method, arguments, kind, tmp_path):
    for needed in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(needed, reason="the extras `export` and `openvino` are not installed")
    model = make(method, **arguments)
    path = Engine(logger=False, default_root_dir=tmp_path).export(model, kind, export_root=tmp_path)
    for load in [in_openvino] if kind == ExportType.OPENVINO else [in_onnxruntime, in_openvino]:
        run = load(path)
        for count in (1, 5):
            found = run({"input": images(count).numpy()})
            with torch.no_grad():
                expected = model(images(count))
            torch.testing.assert_close(torch.tensor(found["pred_score"]), expected.pred_score, atol=1e-4, rtol=0)
            torch.testing.assert_close(torch.tensor(found["anomaly_map"]), expected.anomaly_map, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "arguments", "reason"),
    [
        (DualImageCLIP, {}, "depends on other images; set alpha to 1"),
        (DualImageCLIP, {"alpha": 1.0, "tta": True}, "set tta to false"),
        (AnoCLIP, {}, "set steps to 0"),
        (MuSc, {}, "depends on other images"),
        (WinCLIP, {"k_shot": 1}, "compares with images it reads"),
    ],
)
@pytest.mark.parametrize("kind", ["to_torch", "to_onnx", "to_openvino"])
def test_methods_whose_score_depends_on_other_images_refuse_with_the_reason(
    make, method, arguments, reason, kind, tmp_path
):
    with pytest.raises(ValueError, match=f"{method.__name__} cannot be exported with these settings: .*{reason}"):
        getattr(make(method, **arguments), kind)(tmp_path)
    assert not list(tmp_path.iterdir())

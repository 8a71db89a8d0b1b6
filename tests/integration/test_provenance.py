"""What lies beside a result says what produced it."""

from __future__ import annotations

import json

import pytest
from anomalib.data import MVTecAD
from anomalib.engine import Engine

from dualclip_lightning.models import DualImageCLIP


@pytest.mark.parametrize(("alpha", "kind"), [(0.5, "pair"), (1.0, "inductive")])
def test_a_test_leaves_its_provenance_beside_its_results(tiny_folder, mvtec_root, tmp_path, alpha, kind):
    method = DualImageCLIP(pretrained=str(tiny_folder), visualizer=False, alpha=alpha, seed=7, tta={"steps": 1})
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    engine.test(method, datamodule=MVTecAD(root=mvtec_root, category="metal_nut", num_workers=0))
    (path,) = tmp_path.rglob("provenance.json")
    found = json.loads(path.read_text())
    assert found["method"] == "DualImageCLIP"
    assert found["kind"] == kind
    assert found["class_name"] == "metal_nut"
    assert found["weights_sha256"] == method.backbone.digest
    assert found["parameters"]["seed"] == 7
    assert found["parameters"]["tta"] == {"steps": 1}
    assert "Resize" in found["transform"]
    assert found["versions"].keys() >= {"dualclip_lightning", "anomalib", "torch", "open_clip_torch"}
    assert (found["device"], found["devices"], found["precision"]) == ("cpu", 1, "32-true")

"""The provenance that is written next to a result."""

from __future__ import annotations

import json
import re

import pytest
from anomalib.data import MVTecAD
from anomalib.engine import Engine

from dualclip_lightning.models import DualImageCLIP, WinCLIP
from tests.towers import write_image


@pytest.mark.parametrize(("alpha", "kind"), [(0.5, "pair"), (1.0, "inductive")])
def test_a_test_leaves_its_provenance_beside_its_results(tiny_folder, mvtec_root, tmp_path, alpha, kind):
    method = DualImageCLIP(pretrained=str(tiny_folder), visualizer=False, alpha=alpha, seed=7, tta={"steps": 1})
    engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    engine.test(method, datamodule=MVTecAD(root=mvtec_root, category="metal_nut", num_workers=0))
    (path,) = tmp_path.rglob("provenance.json")
    found = json.loads(path.read_text())
    assert found["method"] == "DualImageCLIP"
    assert found["kind"] == kind
    assert found["class_name"] == "metal nut"
    assert found["weights_sha256"] == method.backbone.digest
    assert found["weights_origin"] == {"path": str(tiny_folder)}
    assert found["backbone"] == found["parameters"]["backbone"] == f"local-dir:{tiny_folder}"
    assert found["parameters"]["seed"] == 7
    assert found["parameters"]["tta"] == {"steps": 1}
    assert "Resize" in found["transform"]
    assert found["versions"].keys() >= {"dualclip_lightning", "anomalib", "torch", "open_clip_torch"}
    assert (found["device"], found["devices"], found["precision"]) == ("cpu", 1, "32-true")


@pytest.fixture
def tested(tiny_folder, mvtec_root, tmp_path):
    """Function that tests a method and returns the provenance written next to its results."""

    def run(kind, **arguments):
        method = kind(pretrained=str(tiny_folder), visualizer=False, **arguments)
        engine = Engine(accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
        engine.test(method, datamodule=MVTecAD(root=mvtec_root, category="metal_nut", num_workers=0))
        newest = max(tmp_path.rglob("provenance.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    return run


def test_provenance_names_the_normal_images_that_were_drawn(tested):
    first, second = (tested(WinCLIP, k_shot=1, seed=seed)["references"] for seed in (0, 1))
    assert re.fullmatch(r"0: 00\d\.png", first["images"][0])
    assert first["sha256"] != second["sha256"]


def test_references_and_textures_are_identified_by_content(tested, tmp_path):
    folder = tmp_path / "folder"
    write_image(folder / "0.png", seed=1)
    before = tested(DualImageCLIP, reference_dir=folder, tta={"steps": 1, "textures": str(folder)})
    write_image(folder / "0.png", seed=2)
    after = tested(DualImageCLIP, reference_dir=folder, tta={"steps": 1, "textures": str(folder)})
    assert before["references"]["images"] == after["references"]["images"] == ["0: 0.png"]
    assert before["references"]["sha256"] != after["references"]["sha256"]
    assert before["textures_sha256"] != after["textures_sha256"]

"""The configuration `moonshot` runs from its first row to its tables, with tiny towers on tiny data."""

from __future__ import annotations

import pytest
import yaml

from dualclip_lightning.benchmark import load_run, parse_config, run_benchmark, write_tables
from tests.tiny_benchmark import CONFIGS

pytestmark = pytest.mark.slow
KINDS = {
    "text only": "inductive",
    "Dual-Image CLIP, layers, K = 16": "pair",
    "Dual-Image CLIP, DINOv2, K = 4": "pair",
    "MuSc, DINOv2-L": "transductive",
    "SubspaceAD": "transductive",
    "SubspaceAD, 1 normal image": "few-shot",
    "PatchMemory, 1 normal image": "few-shot",
}


def with_tiny_towers(arguments: dict, weights: str) -> dict:
    """Return the arguments of a row with a tiny tower of the same library instead of each of its towers."""
    kept = {name: value for name, value in arguments.items() if name not in {"backbone", "pretrained", "image_size"}}
    if arguments.get("backbone", "").startswith("timm:"):
        kept |= {"backbone": "timm:test_vit", "pretrained": "random", "image_size": 64}
    else:
        kept["pretrained"] = weights
    if "reference_backbone" in arguments:
        kept |= {"reference_backbone": "timm:test_vit", "reference_pretrained": "random"}
    return kept


def test_every_row_is_computed_and_stands_in_the_tables(mvtec_root, tiny_folder, tmp_path):
    content = yaml.safe_load((CONFIGS / "moonshot.yaml").read_text(encoding="utf-8"))
    for method in content["methods"].values():
        method["arguments"] = with_tiny_towers(method.get("arguments", {}), str(tiny_folder))
        method["seeds"] = [0]
        method.get("per_dataset", {}).pop("Visa", None)
    content["datasets"] = {"MVTecAD": {"arguments": {"root": str(mvtec_root)}, "categories": ["metal_nut"]}}
    content |= {"device": "cpu", "num_workers": 0}
    rows = run_benchmark(parse_config(content), tmp_path / "out")
    assert rows["status"].tolist() == ["done"] * len(content["methods"])
    kinds = dict(zip(rows["method"], rows["kind"], strict=True))
    assert {name: kinds[name] for name in KINDS} == KINDS
    write_tables(load_run(tmp_path / "out"))
    table = (tmp_path / "out" / "tables" / "mvtecad.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in table for name in content["methods"])
    published = (tmp_path / "out" / "tables" / "mvtecad_published.md").read_text(encoding="utf-8")
    assert "SubspaceAD, 1 normal image" in published
    assert "98.0" in published

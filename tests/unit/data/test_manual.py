from __future__ import annotations

import pytest
from anomalib.data import MPDD

from dualclip_lightning.benchmark.plan.cells import plan
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.benchmark.run.session import refuse
from dualclip_lightning.data.manual import missing_by_hand
from tests.tiny_benchmark import tiny_config

REAL = {"resolution": 256, "json_path": "realiad_jsons/realiad_jsons/{category}.json"}


def test_real_iad_needs_its_images_and_its_lists(tmp_path):
    said = missing_by_hand("RealIAD", REAL | {"root": tmp_path}, "usb")
    assert "huggingface.co/datasets/REAL-IAD" in said
    assert f"'{tmp_path}/realiad_256/usb' and '{tmp_path}/realiad_jsons/realiad_jsons/usb.json'" in said
    (tmp_path / "realiad_256" / "usb").mkdir(parents=True)
    assert "realiad_256" not in missing_by_hand("RealIAD", REAL | {"root": tmp_path}, "usb")


def test_data_that_are_there_or_can_be_downloaded_are_not_missing(tmp_path):
    (tmp_path / "tubes").mkdir()
    MPDD(root=tmp_path, category="tubes").prepare_data()  # anomalib finds them too
    assert missing_by_hand("MPDD", {"root": tmp_path}, "tubes") is None
    assert missing_by_hand("MVTecAD", {"root": tmp_path / "absent"}, "bottle") is None


def test_a_benchmark_refuses_missing_data_before_anything_runs(tmp_path):
    absent = {"arguments": {"root": str(tmp_path)}}
    folders = absent | {"data": "Folders", "categories": ["kvasir"]}
    cells = plan(tiny_config("data", "demo", datasets={"MPDD": absent, "Lesions": folders}))
    with pytest.raises(ConfigError) as refused:
        refuse(cells)
    mpdd, lesions = sorted(str(refused.value).splitlines(), reverse=True)
    assert mpdd.startswith("datasets.MPDD: anomalib cannot download MPDD. Get it from https://")
    assert f"'{tmp_path}/bracket_black'" in mpdd
    assert lesions.startswith(
        f"datasets.Lesions: '{tmp_path}' has no folders with images. Expected a folder for each category"
    )

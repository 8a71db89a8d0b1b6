from __future__ import annotations

import subprocess
import sys
from importlib.metadata import metadata, version

import pytest

import dualclip_lightning
from dualclip_lightning.registry import DATAMODULES, MODELS


@pytest.mark.parametrize("module", ["dualclip_lightning", "dualclip_lightning.plugin", "dualclip_lightning.cli"])
def test_importing_costs_the_standard_library_alone(module, tmp_path):
    script = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    packages = {name.split(".")[0] for name in printed.split()}
    assert "dualclip_lightning" in packages
    assert packages - {"dualclip_lightning"} <= set(sys.stdlib_module_names)


def test_the_version_is_that_of_the_installed_package():
    assert dualclip_lightning.__version__ == version("dualclip_lightning")


@pytest.mark.parametrize("name", [*MODELS, *DATAMODULES])
def test_every_registered_class_is_exported_by_the_package(name):
    assert getattr(dualclip_lightning, name).__name__ == name
    assert name in dualclip_lightning.__all__
    assert name in dir(dualclip_lightning)


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = dualclip_lightning.Nothing


def test_anomalibs_clip_extra_is_not_taken():
    requirements = metadata("dualclip_lightning").get_all("Requires-Dist") or []
    assert [line for line in requirements if line.startswith("anomalib")] == ["anomalib<2.8,>=2.7"]

from __future__ import annotations

from importlib.metadata import metadata, version

import pytest

import dualclip_lightning
from dualclip_lightning.registry import DATAMODULES, MODELS


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


def test_the_package_does_not_depend_on_anomalibs_clip_extra():
    requirements = metadata("dualclip_lightning").get_all("Requires-Dist") or []
    assert [line for line in requirements if line.startswith("anomalib")] == ["anomalib<2.8,>=2.7"]

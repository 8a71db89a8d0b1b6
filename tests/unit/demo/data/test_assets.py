from __future__ import annotations

from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from PIL import Image

from dualclip_lightning.data import texture_paths
from dualclip_lightning.demo.data.assets import ASSETS, MATERIALS, REAL, photographs

MEGABYTE = 1_000_000
ROOT = Path(__file__).parents[4]


def test_textures_are_photographs_of_other_materials_than_the_demo_is_tested_on():
    names = {path.stem.split("_")[0] for path in texture_paths()}
    assert len(names) >= 16
    assert not names & set(MATERIALS)


@pytest.mark.parametrize("material", MATERIALS)
def test_every_material_has_photographs_of_128_pixels(material):
    assert photographs(material)
    for path in photographs(material):
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")


def test_no_photograph_is_included_twice():
    contents = [path.read_bytes() for path in ASSETS.rglob("*.jpg")]
    assert len(contents) == len(set(contents)) >= 36


def test_every_folder_of_images_has_its_licence_stated():
    said = (ASSETS / "LICENSES.md").read_text(encoding="utf-8")
    assert all(f"`{folder}/`" in said for folder in ("materials", "textures", *REAL))
    assert {path.name for path in ASSETS.iterdir() if path.is_dir() and path.name[0] != "_"} == {
        "materials",
        "textures",
        *REAL,
    }


@pytest.mark.parametrize(
    ("category", "licence"), [("pcb", "MIT License"), ("spindle", "Attribution-ShareAlike 4.0 International")]
)
def test_the_licence_of_real_images_lies_beside_them(category, licence):
    assert (ASSETS / category / "LICENSE").read_text(encoding="utf-8").startswith(licence)


def test_attribution_source_and_changes_of_the_spindles_are_stated():
    said = " ".join((ASSETS / "LICENSES.md").read_text(encoding="utf-8").split())
    for words in (
        "Schlagenhauf",
        "2Obe/BSData",
        "https://creativecommons.org/licenses/by-sa/4.0/",
        "reduced to 590x240",
    ):
        assert words in said


def test_the_wheel_holds_every_image_and_names_every_licence():
    builder = WheelBuilder(str(ROOT))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    carried = {
        path.relative_to(ROOT).as_posix() for path in ASSETS.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    assert carried <= packed
    assert not [path for path in packed if path.startswith("tests/")]
    licences = {path for path in carried if Path(path).name in {"LICENSE", "LICENSES.md"}}
    assert {"LICENSE", *licences} == set(builder.metadata.core.license_files)
    stated = builder.metadata.core.license_expression
    assert set(stated.split(" AND ")) == {"Apache-2.0", "CC0-1.0", "MIT", "CC-BY-SA-4.0"}


def test_images_are_small():
    sizes = {name: sum(path.stat().st_size for path in (ASSETS / name).rglob("*")) for name in ("pcb", "spindle", ".")}
    assert sizes["pcb"] < 0.6 * MEGABYTE
    assert sizes["spindle"] < 2 * MEGABYTE
    assert sizes["."] < 3 * MEGABYTE


def test_no_photograph_of_the_demo_is_a_texture_for_pseudo_anomalies():
    shown = {path.read_bytes() for path in (ASSETS / "materials").rglob("*.jpg")}
    assert shown
    assert not shown & {path.read_bytes() for path in texture_paths()}

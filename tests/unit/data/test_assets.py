from __future__ import annotations

import pytest
from PIL import Image

from dualclip_lightning.data import texture_paths
from dualclip_lightning.data.assets import ASSETS, photographs
from dualclip_lightning.data.demo import MATERIALS

MEGABYTE = 1_000_000


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


def test_no_photograph_is_there_twice():
    contents = [path.read_bytes() for path in ASSETS.rglob("*.jpg")]
    assert len(contents) == len(set(contents)) >= 36


def test_every_folder_of_images_has_its_licence_said():
    said = (ASSETS / "LICENSES.md").read_text()
    assert all(f"`{folder}/`" in said for folder in ("materials", "textures", "pcb"))
    assert "MIT License" in (ASSETS / "pcb" / "LICENSE").read_text()


def test_all_images_together_are_small():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*")) < 3 * MEGABYTE

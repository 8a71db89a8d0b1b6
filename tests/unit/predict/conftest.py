from __future__ import annotations

import pytest

from dualclip_lightning.predict import Detector
from tests.towers import write_image

SIZES = ((40, 56), (64, 52), (90, 31))


@pytest.fixture(scope="session")
def make_detector(tiny_folder):
    """Function that makes a detector with a tiny CLIP of random weights."""
    return lambda **arguments: Detector("plate", **{"pretrained": str(tiny_folder), "device": "cpu"} | arguments)


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """Folder of seven images of three shapes, one of them in a subfolder."""
    folder = tmp_path_factory.mktemp("shots")
    for i in range(6):
        write_image(folder / f"{i}.png", seed=i, size=SIZES[i % 3])
    write_image(folder / "below" / "6.png", seed=6)
    return folder

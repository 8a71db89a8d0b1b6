"""The class name that prompts use for the images of a datamodule."""

from __future__ import annotations

import pytest
from anomalib.data import VAD, BTech, Folder, Kaputt, Kolektor, MVTecAD

from dualclip_lightning.models import ClipZeroShot


class OwnBTech(BTech):
    """A datamodule written by a user and derived from one of anomalib's."""


@pytest.fixture(scope="module")
def method():
    return ClipZeroShot(pretrained="demo")


@pytest.mark.parametrize(
    ("datamodule", "words"),
    [
        (BTech(category="02"), "industrial product"),
        (OwnBTech(category="02"), "industrial product"),
        (VAD(), "piezo element"),
        (Kolektor(), "electrical commutator"),
        (Kaputt(category=None), "packaged item"),
        (MVTecAD(category="metal_nut"), "metal nut"),
        (Folder(name="02", normal_dir="good"), ""),
        (None, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_class_words_come_from_the_datamodule(method, datamodule, words):
    assert method._class_words_of(datamodule) == words

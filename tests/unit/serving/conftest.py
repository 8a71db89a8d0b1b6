"""A detector with references of its own, and uploads."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image

from dualclip_lightning.predict import Detector


def png(seed: int, size: tuple[int, int] = (40, 56)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def upload(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{i}.png", content)) for i, content in enumerate(contents)]


class Held:
    """A detector that scores no batch until it is released."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.entered, self.released = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def __getattr__(self, name):
        return getattr(self._detector, name)

    def score(self, sources):
        self.batches.append(len(sources))
        self.entered.set()
        assert self.released.wait(120)
        return self._detector.score(sources)


@pytest.fixture(scope="session")
def detector(tiny_folder):
    references = np.random.default_rng(99).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    return Detector("plate", pretrained=str(tiny_folder), reference_dir=list(references), threshold=0.4, device="cpu")


@pytest.fixture
def held(detector):
    held = Held(detector)
    yield held
    held.released.set()

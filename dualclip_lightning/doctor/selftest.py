"""Self-test: the score of one image of the package by the demo model, on every device."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from dualclip_lightning.doctor.finding import Finding
from dualclip_lightning.doctor.installation import REINSTALL

IMAGE = "pcb/00041000_test.png"
"""A board with defects, among the images of the demo."""
SCORE, TOLERANCE = 0.7029, 0.01
"""Score of the image by text alone, and the largest difference that versions of libraries and devices explain."""
WEIGHTS = "28521f08021c1d3fae07e431bd962ac8e1d6cf039eacd03967954fbc2e4b4ff6"
"""Digest of the weights with which the score was computed; both change with the demo model."""


def check_selftest() -> Iterator[Finding]:
    """Yield the score of the image and the time that it takes, on the CPU and on the first GPU."""
    import torch  # noqa: PLC0415 - takes seconds

    gpu = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else None
    for device in filter(None, ("cpu", gpu)):
        yield _score_on(device)


def _score_on(device: str) -> Finding:
    from dualclip_lightning.demo.data.assets import ASSETS  # noqa: PLC0415 - takes seconds
    from dualclip_lightning.predict import Detector  # noqa: PLC0415

    start = time.perf_counter()
    detector = Detector(
        "printed circuit board",
        pretrained="demo",
        compare_with="none",
        threshold=None,
        geometry="squash",
        device=device,
    )
    detector.predict(ASSETS / IMAGE)  # the first pass prepares the texts and the device
    loaded = time.perf_counter()
    found = detector.predict(ASSETS / IMAGE)
    seconds = time.perf_counter() - loaded
    digest, subject = str(detector.settings["weights_sha256"]), f"self-test on {device}"
    facts = {"score": found.score, "seconds": round(seconds, 3), "seconds_to_load": round(loaded - start, 3),
             "weights_sha256": digest}  # fmt: skip
    text = f"score {found.score:.4f} in {seconds:.2f} s, after {loaded - start:.1f} s to load"
    if digest != WEIGHTS:
        return Finding(subject, "note", f"{text}; these weights are not the ones whose score is known",
                       f"Unless you replaced the demo model: {REINSTALL}", facts)  # fmt: skip
    if not math.isclose(found.score, SCORE, abs_tol=TOLERANCE) or found.map.shape != found.size:
        return Finding(subject, "problem", f"{text}. The score should be {SCORE:.4f}.",
                       "Compare the versions of torch, torchvision, open_clip_torch and pillow with those of a machine "
                       "on which it is right, and please report it.", facts)  # fmt: skip
    return Finding(subject, "ok", f"{text}, as expected", facts=facts)

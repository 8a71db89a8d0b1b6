"""Runs of anomalib's Engine, and a record of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from anomalib.engine import Engine
from lightning.pytorch import Callback
from torch import Tensor

SCORE_TOLERANCE, MAP_TOLERANCE = 1e-5, 1e-4
"""Largest differences that count as equal, for scores and maps up to 1; larger values are compared in proportion."""


class Record(Callback):
    """Scores and maps of a run by the name of an image and its folder, such as "good/000.png"."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.maps: dict[str, Tensor] = {}

    def on_test_batch_end(self, _trainer: Any, _module: Any, _outputs: Any, batch: Any, *_: Any) -> None:
        """Add the images of a batch.

        Raises:
            AssertionError: the batch does not have one score, and one map or none, for each image.
        """
        names = ["/".join(Path(path).parts[-2:]) for path in batch.image_path]
        count, size = len(names), tuple(batch.image.shape[-2:])
        scores: Any = without_channel(batch.pred_score, 1)
        maps: Any = without_channel(batch.anomaly_map, 3)
        require_shape("pred_score", scores, (count,))
        self.scores |= dict(zip(names, map(float, scores), strict=True))
        if maps is not None:  # some methods only classify images
            require_shape("anomaly_map", maps, (count, *size))
            self.maps |= dict(zip(names, maps, strict=True))

    # Lightning declares the same arguments with other defaults.
    on_predict_batch_end = on_test_batch_end  # type: ignore[assignment]


def run_engine(folder: Path, method: Any, stage: str = "test", **data: Any) -> Record:
    """Run `test` or `predict` on the CPU, with results below a folder."""
    record = Record()
    getattr(new_engine(folder, record), stage)(method, **data)
    return record


def new_engine(folder: Path, *callbacks: Callback, **arguments: Any) -> Engine:
    """Return an Engine for the CPU that prints nothing and writes below a folder."""
    return Engine(
        accelerator="cpu", devices=1, logger=False, default_root_dir=folder / "results", callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, **arguments,
    )  # fmt: skip


def without_channel(values: Tensor | None, dimensions: int) -> Tensor | None:
    """Return values without the channel [B, 1, ...] that some models of anomalib add."""
    return values.squeeze(1) if values is not None and values.ndim == dimensions + 1 else values


def require(condition: bool, sentence: str) -> None:
    """Check a condition.

    Raises:
        AssertionError: it does not hold; the message is the sentence.
    """
    if not condition:
        raise AssertionError(sentence)


def require_shape(name: str, value: Any, expected: tuple[int, ...]) -> None:
    """Check the shape of a part of a batch.

    Raises:
        AssertionError: there is no tensor or its shape differs.
    """
    require(isinstance(value, Tensor), f"A batch of {expected[0]} image(s) has no {name}.")
    found = list(value.shape)
    require(found == list(expected), f"{name} of a batch of {expected[0]} image(s) has shape {found} instead of "
            f"{list(expected)}.")  # fmt: skip


def require_same(found: Record, expected: Record, when: str, *, exactly: bool = False) -> None:
    """Check that two runs gave the same scores and maps.

    Args:
        found: a run.
        expected: the run that it is compared with, of these images and possibly others.
        when: what differed between the runs, as the start of a sentence, such as "In batches of 1".
        exactly: whether every bit counts.

    Raises:
        AssertionError: the runs differ; the message names an image.
    """
    unknown = sorted(found.scores.keys() - expected.scores.keys())
    require(not unknown, f"{when}, there are scores of images that were not asked for, such as {unknown[:1]}.")
    _require_close(found.scores, expected.scores, "score", when, 0.0 if exactly else SCORE_TOLERANCE)
    require(len(found.maps) in {0, len(found.scores)} and bool(found.maps) == bool(expected.maps),
            f"{when}, {len(found.maps)} of {len(found.scores)} image(s) have a map.")  # fmt: skip
    _require_close(found.maps, expected.maps, "map", when, 0.0 if exactly else MAP_TOLERANCE)


def _require_close(found: Any, expected: Any, what: str, when: str, tolerance: float) -> None:
    pairs = {name: (torch.as_tensor(found[name]), torch.as_tensor(expected[name])) for name in found}
    require(all(a.shape == b.shape for a, b in pairs.values()), f"{when}, a {what} has another shape.")
    scale = max([1.0, *(float(b.abs().max()) for _, b in pairs.values())])
    # `not <=` also counts what is not a number
    errors = {name: float((a - b).abs().max()) for name, (a, b) in pairs.items()}
    wrong = {name: error for name, error in errors.items() if not error <= tolerance * scale}
    if wrong:
        worst = max(wrong, key=lambda name: wrong[name])
        count = f"{len(wrong)} of {len(found)}"
        msg = f"{when}, the {what} of {count} image(s) differs, by up to {wrong[worst]:.3g} ({worst})."
        raise AssertionError(msg)

"""Forecast of the time that a run over tiles takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.images.reading.decoding import read_size
from dualclip_lightning.predict.input.encoding import ImageEncoder
from dualclip_lightning.predict.input.reader import MOST_KEPT_VIEWS, ViewReader

LEAST_BATCHES, MOST_BATCHES, ENOUGH_SECONDS = 3, 9, 2.0
"""Limits of the number of timed batches: several, because other programs may slow one down, but not for long."""


def forecast_tiles(encoder: ViewReader, paths: Sequence[Path], *, timed: bool = True) -> str:
    """Return the number of tiles and the time to encode them: the median of a few batches, and their range.

    Only the file headers are read; images that cannot be read are ignored. Matching with references and test-time
    adaptation take additional time. Without `timed`, for runs on devices other than the encoder's, only the number is
    given; the same holds for other methods than Dual-Image CLIP.
    """
    counts = [count for path in paths if (count := _tiles(encoder, path))]
    if not counts:
        return "No image to lay tiles over."
    number = f"{sum(counts)} tiles in {len(counts)} images (up to {max(counts)} in one)"
    if not (timed and isinstance(encoder, ImageEncoder)):
        return f"{number}."
    passes = sum(count * (2 if count > MOST_KEPT_VIEWS else 1) for count in counts)
    measured = _seconds_per_view(encoder)
    low, seconds, high = (_duration(passes * value) for value in (min(measured), median(measured), max(measured)))
    span = "" if low == high else f", {low} to {high} by single measurements"
    device = next(encoder.encoder.parameters()).device
    return f"{number}; encoding them takes about {seconds} on {device} ({median(measured):.3f} s a tile{span})."


def _tiles(encoder: ViewReader, path: Path) -> int:
    try:
        return len(encoder.plan(read_size(path)).corners)
    except ImageError:  # reported when the image is processed
        return 0


@torch.inference_mode()
def _seconds_per_view(encoder: ImageEncoder) -> list[float]:
    """Return the seconds per view of each of a few full batches, after one for warm-up."""
    views = torch.zeros(encoder.batch_size, 3, *encoder.preprocessing.size)
    _seconds(encoder, views)
    taken: list[float] = []
    while len(taken) < LEAST_BATCHES or (len(taken) < MOST_BATCHES and sum(taken) < ENOUGH_SECONDS):
        taken.append(_seconds(encoder, views))
    return [seconds / len(views) for seconds in taken]


def _seconds(encoder: ImageEncoder, views: torch.Tensor) -> float:
    start = time.perf_counter()
    encoder.compute(views)[0].cpu()  # waits for the device
    return time.perf_counter() - start


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{max(rest, 1)} s"

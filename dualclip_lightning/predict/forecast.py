"""What a run over tiles will cost, said before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from dualclip_lightning.images.decoding import read_size
from dualclip_lightning.images.picture import ImageError
from dualclip_lightning.predict.encoding import MOST_KEPT_VIEWS, ImageEncoder


def forecast_tiles(encoder: ImageEncoder, paths: Sequence[Path], *, timed: bool = True) -> str:
    """How many tiles the images have, and how long encoding them takes, measured on one batch of tiles.

    Only the heads of the files are read; images that cannot be read do not count. Matching with references and
    test-time adaptation come on top. Without `timed` only the number is said, for runs on other devices than the
    encoder's.
    """
    counts = [count for path in paths if (count := _tiles(encoder, path))]
    if not counts:
        return "No image to lay tiles over."
    number = f"{sum(counts)} tiles in {len(counts)} images (up to {max(counts)} in one)"
    if not timed:
        return f"{number}."
    passes = sum(count * (2 if count > MOST_KEPT_VIEWS else 1) for count in counts)
    seconds = _seconds_per_view(encoder)
    device = next(encoder.encoder.parameters()).device
    return f"{number}; encoding them takes about {_duration(passes * seconds)} on {device} ({seconds:.3f} s a tile)."


def _tiles(encoder: ImageEncoder, path: Path) -> int:
    try:
        return len(encoder.plan(read_size(path)).corners)
    except ImageError:  # told when its turn comes
        return 0


@torch.inference_mode()
def _seconds_per_view(encoder: ImageEncoder) -> float:
    """Of a full batch, after one that warms up."""
    views = torch.zeros(encoder.batch_size, 3, *encoder.preprocessing.size)
    encoder.encode_views(views)
    start = time.perf_counter()
    encoder.encode_views(views).patch_embeddings.cpu()  # waits for the device
    return (time.perf_counter() - start) / len(views)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{max(rest, 1)} s"

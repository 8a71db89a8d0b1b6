"""Checks of the input of metrics: scores with labels, maps with masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualclip_lightning.metrics.ranking import Scores

Names = Sequence[Any] | None
"""Names of the images of an update in errors, such as their paths."""


def read_images(scores: Tensor, labels: Tensor, names: Names) -> tuple[Scores, NDArray[np.bool_]]:
    """Convert scores [B] and labels [B] of images; a trailing dimension of 1 is allowed.

    Raises:
        ValueError: shapes differ, a score is not finite, or a label is neither 0 nor 1.
    """
    scores, labels = scores.reshape(len(scores), -1).squeeze(1), labels.reshape(len(labels), -1).squeeze(1)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(
            f"Expected one score and one label for each image, but got scores {list(scores.shape)} "
            f"and labels {list(labels.shape)}."
        )
    return _finite(_as_scores(scores), "score", names), _binary(labels, "label", names)


def read_maps(maps: Tensor, masks: Tensor, names: Names) -> tuple[Scores, NDArray[np.bool_]]:
    """Convert maps and masks [B, H, W], or [B, 1, H, W].

    Raises:
        ValueError: sizes differ, a score is not finite, or a mask has values other than 0 and 1.
    """
    maps, masks = _without_channel(maps, "maps"), _without_channel(masks, "masks")
    if maps.shape != masks.shape:
        raise ValueError(
            f"Expected maps and masks of the same size, but got maps {list(maps.shape)} and masks {list(masks.shape)}: "
            f"{_name(names, 0)}. Resize the maps to their masks, or the images to one size with their masks."
        )
    return _finite(_as_scores(maps), "map", names), _binary(masks, "mask", names)


def _without_channel(images: Tensor, what: str) -> Tensor:
    if images.ndim == 4 and images.shape[1] == 1:  # noqa: PLR2004 ([B, 1, H, W])
        return images.squeeze(1)
    if images.ndim != 3:  # noqa: PLR2004 ([B, H, W])
        raise ValueError(f"Expected {what} of shape [B, H, W] or [B, 1, H, W], but got {list(images.shape)}.")
    return images


def _as_scores(values: Tensor) -> Scores:
    """Convert to single precision if it is exact, otherwise to double precision."""
    narrow = values.dtype in {torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8}
    return values.detach().cpu().to(torch.float32 if narrow else torch.float64).numpy()


def _finite(scores: Scores, what: str, names: Names) -> Scores:
    # The minimum is NaN if any score is, so one fast pass suffices; only an error searches for the image.
    if scores.size and not (np.isfinite(scores.min()) and np.isfinite(scores.max())):
        bad = int(np.flatnonzero(~np.isfinite(scores.reshape(len(scores), -1)).all(1))[0])
        raise ValueError(
            f"Expected finite scores, but the {what} of {_name(names, bad)} has NaN or infinity. Look for a division "
            "by zero or an overflow of half precision where it comes from, or leave the image out."
        )
    return scores


def _binary(targets: Tensor, what: str, names: Names) -> NDArray[np.bool_]:
    values = targets.detach().cpu().numpy()
    if values.dtype != np.bool_:
        wrong = ((values != 0) & (values != 1)).reshape(len(values), -1).any(1)
        if wrong.any():
            raise ValueError(
                f"Expected 0 and 1, but the {what} of {_name(names, int(np.argmax(wrong)))} has other values. "
                f"Pass for instance `{what}s > 0`."
            )
    return values.astype(np.bool_, copy=False)


def _name(names: Names, place: int) -> str:
    return f"image {place} of this update" if names is None else f"image {names[place]}"

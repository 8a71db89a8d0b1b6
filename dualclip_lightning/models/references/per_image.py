"""Scoring without references: each image is scored individually."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.models.references.data import RunImages
from dualclip_lightning.pairing import OrderedDataset

ReadImages = Callable[[Sequence[str]], Tensor]
"""Function from paths to images [R, 3, H, W] in the model's input format and on its device."""


class PerImage:
    """Scoring of each image individually, in the order of the data.

    This is the base class of the other kinds of references. A run calls `start`, then `arrange` for each of its data
    loaders, then `encode`, and `score` for every batch.

    Args:
        model: model that returns an InferenceBatch for images [B, 3, H, W].
        named: whether the model also takes the paths of the images.
    """

    files: tuple[str, ...] = ()
    """Files of the external references, if there are any."""

    def __init__(self, model: Any, *, named: bool = False) -> None:
        self.model = model
        self.named = named

    def start(self) -> None:
        """Discard the state of the previous run."""

    def arrange(self, images: RunImages) -> OrderedDataset:
        """Return the images of one data loader in the order in which the run processes them."""
        return images.ordered(images.kept)

    def encode(self, read: ReadImages, datamodule: Any = None) -> None:
        """Encode external references, when the model is on its device and in the precision of the run."""

    def score(self, images: Tensor, names: Sequence[str] = (), loader: int = 0) -> InferenceBatch:
        """Return scores [B] and maps [B, H, W] of a batch of images [B, 3, H, W].

        Args:
            images: [B, 3, H, W], preprocessed.
            names: paths of the images; empty if they are not known.
            loader: index of their data loader in the run.
        """
        del loader
        return self.model(images, names) if self.named else self.model(images)

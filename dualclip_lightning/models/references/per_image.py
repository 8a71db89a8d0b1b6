"""No references: each image is scored by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.models.references.data import RunImages
from dualclip_lightning.pairing import OrderedView

ReadImages = Callable[[Sequence[str]], Tensor]
"""Paths -> images [R, 3, H, W] as the model takes them, on its device."""


class PerImage:
    """Each image is scored by itself, in the order of the data.

    Base of the other kinds of references. A run calls `start`, then `arrange` for each of its data loaders, then
    `encode`, and `score` for every batch.

    Args:
        model: gives an InferenceBatch for images [B, 3, H, W].
        named: whether the model takes the paths of the images, too.
    """

    files: tuple[str, ...] = ()
    """Files of the images that every image is compared with, where there are such."""

    def __init__(self, model: Any, *, named: bool = False) -> None:
        self.model = model
        self.named = named

    def start(self) -> None:
        """Forget the run before."""

    def arrange(self, images: RunImages) -> OrderedView:
        """The images of one data loader in the order in which the run is to meet them."""
        return images.view(images.kept)

    def encode(self, read: ReadImages, datamodule: Any = None) -> None:
        """Encode images from elsewhere, once the model is on its device and in the precision of the run."""

    def score(self, images: Tensor, names: Sequence[str] = (), loader: int = 0) -> InferenceBatch:
        """Scores [B] and maps [B, H, W] of a batch of images [B, 3, H, W].

        Args:
            images: preprocessed.
            names: their paths; empty where they are not known.
            loader: which data loader of the run they come from.
        """
        del loader
        return self.model(images, names) if self.named else self.model(images)

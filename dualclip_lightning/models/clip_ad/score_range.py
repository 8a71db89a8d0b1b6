"""Image scores of CLIP-AD as released, scaled by their range over the whole test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import InferenceBatch
from torch import Tensor
from torch.utils.data import DataLoader

from dualclip_lightning.models.references import PerImage
from dualclip_lightning.models.references.data import RunImages
from dualclip_lightning.pairing import OrderedDataset

RANGE_BATCH = 8
"""Number of images that are scored at once to find the range of a test set's scores."""


class ScaledOverSet(PerImage):
    """Scaling of both parts of an image score by their range over the data set, which is found in a first pass.

    Args:
        model: ClipADModel that normalises its scores.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._images: list[tuple[OrderedDataset, RunImages]] = []
        self._ranges: dict[int, Tensor] = {}

    def start(self) -> None:
        """Discard the score ranges of the previous run."""
        self._images, self._ranges = [], {}

    def arrange(self, images: RunImages) -> OrderedDataset:
        """Return the data set in its own order."""
        ordered = super().arrange(images)
        self._images.append((ordered, images))
        return ordered

    def score(self, images: Tensor, names: Sequence[str] = (), loader: int = 0) -> InferenceBatch:
        """Return scores and maps of a batch, which is the test set if there is no data set."""
        del names
        if self._images and loader not in self._ranges:
            self._ranges[loader] = self._measure(*self._images[loader], like=images)
        return self.model(images, self._ranges.get(loader))

    def _measure(self, ordered: OrderedDataset, images: RunImages, like: Tensor) -> Tensor:
        """Return the smallest and largest value [2, 2] of both parts of the image score."""
        batches = DataLoader(ordered, RANGE_BATCH, **images.reading)
        parts = [self.model.score_parts(images.transform(batch.image.to(like)))[0] for batch in batches]
        return torch.stack(torch.cat(parts, dim=1).aminmax(dim=1))

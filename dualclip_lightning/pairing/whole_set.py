"""Scores that depend on every image of a data set, independent of the batches in which images arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from torch import Tensor

from dualclip_lightning.pairing.grouped import PatchPrediction
from dualclip_lightning.pairing.groups import Group


class ImageSet(NamedTuple):
    """Images that score each other.

    Example:
        >>> import torch
        >>> from dualclip_lightning.pairing import ImageSet
        >>> ImageSet(size=3, batches=iter([torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8)])).size
        3
    """

    size: int
    batches: Iterable[Tensor]
    """Batches [B, 3, H, W] with `size` images in total, which can be iterated once."""


ReadImages = Callable[[Group, int], Iterable[Tensor]]
"""Function from positions in the data set and a batch size to preprocessed images [B, 3, H, W]."""
ScoreSets = Callable[[Sequence[ImageSet]], PatchPrediction]
"""Function from sets of images to their scores and maps, in the order of the sets."""


class WholeSetScoring:
    """Score all images at the first batch, encoding each once, and look up the results for every batch.

    The stored result of an image is a map on the patch grid, which takes a few kilobytes.

    Args:
        names: the name of every image of the data set.
        subsets: disjoint groups of their positions; images of one subset score each other.
        read: function that reads images.
        score: function that scores the images of a subset.

    Example:
        >>> import torch
        >>> from dualclip_lightning.pairing import PatchPrediction, WholeSetScoring
        >>> images = torch.arange(3.0).view(3, 1, 1, 1)
        >>> def read(positions, batch_size):
        ...     return images[list(positions)].split(batch_size)
        >>> def score(sets):  # the difference to the mean of all images
        ...     whole = torch.cat([batch for each in sets for batch in each.batches])
        ...     difference = (whole - whole.mean()).abs()
        ...     return PatchPrediction(difference.flatten(), difference[:, 0])
        >>> scoring = WholeSetScoring(["a.png", "b.png", "c.png"], [(0, 1, 2)], read, score)
        >>> scoring(["b.png", "c.png"], images[1:]).scores
        tensor([0., 1.])
    """

    def __init__(self, names: Sequence[str], subsets: Sequence[Group], read: ReadImages, score: ScoreSets) -> None:
        self.subsets = list(subsets)
        self.read = read
        self.score = score
        self._row = {names[position]: row for row, position in enumerate(chain.from_iterable(subsets))}
        self._prediction: PatchPrediction | None = None

    def __call__(self, names: Sequence[str], images: Tensor) -> PatchPrediction:
        """Return the scores and maps of a batch, in its order; the first batch [B, 3, H, W] sets device and batch size.

        Raises:
            KeyError: a name is not in the data set.
        """
        rows = [self._row[name] for name in names]
        if self._prediction is None:
            self._prediction = self.score([self._set(subset, images) for subset in self.subsets])
        return PatchPrediction(self._prediction.scores[rows], self._prediction.maps[rows])

    def _set(self, subset: Group, like: Tensor) -> ImageSet:
        return ImageSet(len(subset), (batch.to(like) for batch in self.read(subset, len(like))))

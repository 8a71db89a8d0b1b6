"""References within the run: all other images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from anomalib.data import InferenceBatch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dualclip_lightning.models.references.data import RunImages
from dualclip_lightning.models.references.per_image import PerImage
from dualclip_lightning.pairing import ImageSet, OrderedDataset, WholeSetScoring, random_subsets
from dualclip_lightning.pairing.groups import Group

logger = logging.getLogger(__name__)


class WholeSet(PerImage):
    """Mutual scoring of all images of a data set at the first batch; later batches look up the results.

    If several processes share a run, each scores the whole data set and looks up its own part, which repeats the work.
    A batch that does not come from a data set of a run is its own set.

    Args:
        model: model with `predict_sets(sets)` and `draw(prediction, size)`.
        subsets: number of random parts of the data set; images score each other within their part.
        seed: seed of the parts.
    """

    def __init__(self, model: Any, subsets: int, seed: int) -> None:
        super().__init__(model)
        self.subsets = subsets
        self.seed = seed
        self.scoring: list[WholeSetScoring] = []

    def start(self) -> None:
        """Discard the scores of the previous run."""
        self.scoring = []

    def arrange(self, images: RunImages) -> OrderedDataset:
        """Return the data set in its own order."""
        kept = images.kept
        names = images.known_names(kept)
        drawn = random_subsets([names[i] for i in kept], self.subsets, self.seed)
        if len(drawn) < self.subsets:
            logger.warning("%d image(s) do not fill %d subsets; there will be %d.", len(kept), self.subsets, len(drawn))
        subsets = [tuple(kept[i] for i in sorted(subset)) for subset in drawn]
        ordered = images.ordered(kept)
        self.scoring.append(WholeSetScoring(names, subsets, partial(_read, ordered, images), self.model.predict_sets))
        return ordered

    def score(self, images: Tensor, names: Sequence[str] = (), loader: int = 0) -> InferenceBatch:
        """Return scores and maps of a batch, as images of their data set."""
        if self.scoring and names:
            prediction = self.scoring[loader](names, images)
        else:
            prediction = self.model.predict_sets([ImageSet(len(images), [images])])
        return self.model.draw(prediction, images.shape[-2:])


def _read(ordered: OrderedDataset, images: RunImages, positions: Group, batch_size: int) -> Iterable[Tensor]:
    """Yield images of a data set in batches, read and preprocessed like the batches of the run."""
    chosen = _Images(ordered, positions, images.transform)
    return _stack(DataLoader(chosen, batch_size, **{**images.reading, "collate_fn": list}))


class _Images(Dataset):
    """Preprocessed images at some positions of an ordered data set."""

    def __init__(self, ordered: OrderedDataset, positions: Group, transform: Callable[[Tensor], Tensor]) -> None:
        self.ordered = ordered
        self.positions = positions
        self.transform = transform

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.ordered.load(self.positions[index]).image)


def _stack(batches: Iterable[Sequence[Tensor]]) -> Iterator[Tensor]:
    """Stack each batch into one tensor.

    Raises:
        ValueError: the images have several sizes.
    """
    sizes: set[tuple[int, int]] = set()
    for images in batches:
        sizes |= {(image.shape[-2], image.shape[-1]) for image in images}
        if len(sizes) > 1:
            found = " and ".join(f"{height}x{width}" for height, width in sorted(sizes))
            msg = f"Images that score each other need one size, but got {found}. Set pre_processor=True, which resizes."
            raise ValueError(msg)
        yield torch.stack(list(images))

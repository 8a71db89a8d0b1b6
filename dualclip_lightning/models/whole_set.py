"""The Lightning side of methods whose scores depend on all images of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dualclip_lightning.models.views import ViewsMixin
from dualclip_lightning.pairing import (
    ImageSet,
    OrderedView,
    PatchPrediction,
    WholeSetScoring,
    known_names,
    random_subsets,
)
from dualclip_lightning.pairing.groups import Group

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Base = ViewsMixin
else:
    Base = object


class WholeSetMixin(Base):
    """Mixin: the first batch of a test or predict run scores all images of its data set; later batches look up.

    It stands before the shell, and before PairingMixin where `num_references` chooses between the two. The method's
    `model` offers `predict_sets(sets)`; the method has `seed` and `subsets`. Where several processes share a run,
    each scores the whole data set and looks up its own part: the same numbers for as many times the work.
    """

    model: Any
    seed: int
    subsets: int
    num_references: int | None
    _whole_sets: tuple[WholeSetScoring, ...] = ()

    def _view_data(self, stage: str) -> None:
        """Forget the scores of the run before."""
        self._whole_sets = ()
        super()._view_data(stage)

    def _view(
        self, dataset: Dataset, names: Sequence[str] | None, kept: Sequence[int], reading: Mapping[str, Any]
    ) -> OrderedView:
        """The data set resized item by item; what scores it is noted."""
        if self.num_references is not None:
            return super()._view(dataset, names, kept, reading)
        names = known_names(dataset, names, kept)
        drawn = random_subsets([names[i] for i in kept], self.subsets, self.seed)
        if len(drawn) < self.subsets:
            logger.warning("%d image(s) do not fill %d subsets; there will be %d.", len(kept), self.subsets, len(drawn))
        subsets = [tuple(kept[i] for i in sorted(subset)) for subset in drawn]
        view = self._ordered(dataset, kept)
        scoring = WholeSetScoring(names, subsets, partial(self._read_batches, view, reading), self.model.predict_sets)
        self._whole_sets += (scoring,)
        return view

    def _predict_whole(self, batch: Any, dataloader_idx: int = 0) -> PatchPrediction:
        """Scores and patch maps of a batch as images of their data set."""
        scoring = self._whole_sets[dataloader_idx] if self._whole_sets else None
        if scoring is not None and batch.image_path is not None:
            return scoring([str(path) for path in batch.image_path], batch.image)
        return self.model.predict_sets([ImageSet(len(batch.image), [batch.image])])

    def _read_batches(
        self, view: OrderedView, reading: Mapping[str, Any], positions: Group, batch_size: int
    ) -> Iterable[Tensor]:
        """Images of a data set as the run's own batches have them, read as those are."""
        transform = getattr(self.pre_processor, "transform", None) or nn.Identity()
        images = _Images(view, positions, transform)
        return _stack(DataLoader(images, batch_size, **{**reading, "collate_fn": list}))


class _Images(Dataset):
    """Preprocessed images at some positions of a view."""

    def __init__(self, view: OrderedView, positions: Group, transform: Callable[[Tensor], Tensor]) -> None:
        self.view = view
        self.positions = positions
        self.transform = transform

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.view.load(self.positions[index]).image)


def _stack(batches: Iterable[Sequence[Tensor]]) -> Iterator[Tensor]:
    """Each batch as one tensor.

    Raises:
        ValueError: images of several sizes, in one batch or another.
    """
    sizes: set[tuple[int, int]] = set()
    for images in batches:
        sizes |= {(image.shape[-2], image.shape[-1]) for image in images}
        if len(sizes) > 1:
            found = " and ".join(f"{height}x{width}" for height, width in sorted(sizes))
            msg = f"Images that score each other need one size, but got {found}. Set pre_processor=True, which resizes."
            raise ValueError(msg)
        yield torch.stack(list(images))

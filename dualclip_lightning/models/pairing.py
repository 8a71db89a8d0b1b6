"""The Lightning side of pairing: drawing the groups of a data set, feeding batches to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.utils.data import Dataset

from dualclip_lightning.models.views import ViewsMixin, batch_names
from dualclip_lightning.pairing import (
    GroupedScoring,
    OrderedView,
    PatchPrediction,
    choose_references,
    known_names,
    neighbour_references,
    order_for_ranks,
    random_groups,
)

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    Base = ViewsMixin
else:
    Base = object


class PairingMixin(Base):
    """Mixin: each image of a test or predict run gets its references from the seed and the set of images.

    It stands before the shell. The method's `model` offers `predict_patches(images, references, names)`,
    `set_references(images, names)` and `draw(prediction, size)`; the method has `seed`, `num_references` and
    `reference_dir`.
    """

    model: Any
    seed: int
    num_references: int
    reference_dir: str | Path | None
    _scoring: tuple[GroupedScoring | None, ...] = ()

    def _view_data(self, stage: str) -> None:
        """Draw the groups of every data set of this run and let their members share batches."""
        self._scoring = ()
        super()._view_data(stage)

    def _view(
        self, dataset: Dataset, names: Sequence[str] | None, kept: Sequence[int], reading: Mapping[str, Any]
    ) -> OrderedView:
        """A data set in the order of its groups; what scores them is noted (None where there are no groups)."""
        if self.reference_dir is not None:
            self._scoring += (None,)
            return super()._view(dataset, names, kept, reading)
        names = known_names(dataset, names, self._listed)
        if len(kept) <= self.num_references:
            logger.warning(
                "%d image(s) cannot give %d reference(s) each; there will be %d.",
                len(kept), self.num_references, len(kept) - 1,
            )  # fmt: skip
        # As `predict` does, groups are drawn before it is known which images can be read.
        drawn = random_groups([names[i] for i in self._listed], self.num_references, self.seed)
        groups = [tuple(self._listed[i] for i in group) for group in drawn]
        references = choose_references(groups, set(kept), self.num_references)
        scoring = GroupedScoring(
            names, references, lambda i: self._prepare(view.load(i).image), self.model.predict_patches
        )
        view = self._ordered(dataset, order_for_ranks(scoring.groups, _ranks()))
        self._scoring += (scoring,)
        return view

    def on_test_start(self) -> None:
        """Encode the reference folder, if there is one."""
        super().on_test_start()
        with self._precision_of_run():
            self._read_references()

    def on_predict_start(self) -> None:
        """As `on_test_start`."""
        super().on_predict_start()
        with self._precision_of_run():
            self._read_references()

    def on_validation_start(self) -> None:
        """As `on_test_start`."""
        super().on_validation_start()
        with self._precision_of_run():
            self._read_references()

    def _predict_paired(self, batch: Any, dataloader_idx: int = 0) -> PatchPrediction:
        """Scores and patch maps of a batch, wherever its images' references are."""
        scoring = self._scoring[dataloader_idx] if self._scoring else None
        names = batch_names(batch)
        if scoring is not None and names:
            return scoring(names, batch.image)
        references = None
        if self.reference_dir is None and len(batch.image) > 1:
            references = neighbour_references(len(batch.image), self.num_references).to(batch.image.device)
        return self.model.predict_patches(batch.image, references, names)

    def _read_references(self) -> None:
        if self.reference_dir is not None:
            self._set_references(self._image_files(self.reference_dir))


def _ranks() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

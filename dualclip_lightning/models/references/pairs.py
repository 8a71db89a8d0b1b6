"""References within the run: random pairs, or groups of K + 1."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from anomalib.data import InferenceBatch
from torch import Tensor

from dualclip_lightning.models.references.data import RunImages
from dualclip_lightning.models.references.per_image import PerImage
from dualclip_lightning.pairing import (
    GroupedScoring,
    OrderedDataset,
    choose_references,
    neighbour_references,
    order_for_ranks,
    random_groups,
)

logger = logging.getLogger(__name__)


class Pairs(PerImage):
    """References that are K other images for each image, depending on the seed and the set of images.

    In a batch that does not come from a data set of a run, neighbours are each other's references.

    Args:
        model: model with `predict_patches(images, references, names)` and `draw(prediction, size)`.
        num_references: K, the number of references.
        seed: seed of the groups.
    """

    def __init__(self, model: Any, num_references: int, seed: int) -> None:
        super().__init__(model)
        self.num_references = num_references
        self.seed = seed
        self.scoring: list[GroupedScoring] = []

    def start(self) -> None:
        """Discard the groups of the previous run."""
        self.scoring = []

    def arrange(self, images: RunImages) -> OrderedDataset:
        """Order a data set by its groups, so that their members share batches."""
        kept, listed = images.kept, images.listed
        names = images.known_names(listed)
        if len(kept) <= self.num_references:
            logger.warning(
                "%d image(s) cannot give %d reference(s) each; there will be %d.",
                len(kept), self.num_references, len(kept) - 1,
            )  # fmt: skip
        # As in `predict`, groups are drawn before unreadable images are excluded.
        drawn = random_groups([names[i] for i in listed], self.num_references, self.seed)
        groups = [tuple(listed[i] for i in group) for group in drawn]
        references = choose_references(groups, set(kept), self.num_references)
        scoring = GroupedScoring(
            names, references, lambda i: images.transform(ordered.load(i).image), self.model.predict_patches
        )
        ordered = images.ordered(order_for_ranks(scoring.groups, _ranks()))
        self.scoring.append(scoring)
        return ordered

    def score(self, images: Tensor, names: Sequence[str] = (), loader: int = 0) -> InferenceBatch:
        """Return scores and maps of a batch, independent of the batches of its references."""
        if self.scoring and names:
            prediction = self.scoring[loader](names, images)
        else:
            references = None
            if len(images) > 1:
                references = neighbour_references(len(images), self.num_references).to(images.device)
            prediction = self.model.predict_patches(images, references, names)
        return self.model.draw(prediction, images.shape[-2:])


def _ranks() -> int:
    """Return the number of processes of the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

"""Scoring of images in groups, independent of the batches in which they arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from dualclip_lightning.pairing.groups import Group, joined_groups, whole_groups


class PatchPrediction(NamedTuple):
    """Scores and maps of a batch before the maps are drawn at full size.

    Example:
        >>> import torch
        >>> from dualclip_lightning.pairing import PatchPrediction
        >>> PatchPrediction(scores=torch.zeros(2), maps=torch.zeros(2, 15, 15)).maps.shape
        torch.Size([2, 15, 15])
    """

    scores: Tensor
    """Scores [B]."""
    maps: Tensor
    """Maps [B, h, w]."""


LoadImage = Callable[[int], Tensor]
"""Function from a position in the data set to a preprocessed image [3, H, W]."""
ScoreImages = Callable[[Tensor, Tensor | None, Sequence[str]], PatchPrediction]
"""Function from images [n, 3, H, W], the rows of each image's references [n, K] or None, and names to a prediction."""


class GroupedScoring:
    """Score images in groups, encoding each image once, for any batch size and any order of arrival.

    When a batch contains a member of a group, the missing members are loaded and the whole group is scored. The results
    of these members, a few kilobytes per image, are kept until they arrive. In the order of `OrderedDataset`, almost
    nothing is kept.

    Args:
        names: the name of every image of the data set.
        references: the positions of every image's references, the same number for each, as from `choose_references`.
            Its keys are the images that are scored. Images that share references form a group.
        load: function that reads a member that is not in the batch.
        score: function that scores a group.

    Example:
        >>> import torch
        >>> from dualclip_lightning.pairing import GroupedScoring, PatchPrediction
        >>> images = torch.arange(2.0).view(2, 1, 1, 1)
        >>> def score(batch, references, names):  # the difference to the one reference of each image
        ...     difference = (batch - batch[references[:, 0]]).abs()
        ...     return PatchPrediction(difference.flatten(), difference[:, 0])
        >>> scoring = GroupedScoring(["a.png", "b.png"], {0: (1,), 1: (0,)}, load=images.__getitem__, score=score)
        >>> scoring(["b.png"], images[1:]).scores  # a.png is loaded as the reference
        tensor([1.])
    """

    def __init__(
        self,
        names: Sequence[str],
        references: Mapping[int, Group],
        load: LoadImage,
        score: ScoreImages,
    ) -> None:
        self.names = list(names)
        self.references = dict(references)
        self.groups = joined_groups(references)
        self.load = load
        self.score = score
        self._position = {name: i for i, name in enumerate(self.names)}
        self._group_of = {member: group for group in self.groups for member in group}
        self._waiting: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, names: Sequence[str], images: Tensor) -> PatchPrediction:
        """Return the scores and maps of a batch of images [B, 3, H, W], in its order.

        Raises:
            KeyError: a name is not in the data set.
        """
        positions = [self._position[name] for name in names]
        at_hand = dict(zip(positions, images, strict=True))
        wanted = dict.fromkeys(self._group_of[p] for p in positions if p not in self._waiting)
        for groups in whole_groups(wanted, limit=len(images)):
            self._score_groups(groups, at_hand)
        found = [self._waiting[p] for p in positions]
        for position in set(positions):
            del self._waiting[position]
        scores, maps = zip(*found, strict=True)
        return PatchPrediction(torch.stack(scores), torch.stack(maps))

    def _score_groups(self, groups: Sequence[Group], at_hand: dict[int, Tensor]) -> None:
        like = next(iter(at_hand.values()))
        members = list(chain.from_iterable(groups))
        images = torch.stack([at_hand[m] if m in at_hand else self.load(m).to(like) for m in members])
        references = _reference_rows(members, self.references)
        names = [self.names[m] for m in members]
        prediction = self.score(images, references, names)
        self._waiting.update(zip(members, zip(*prediction, strict=True), strict=True))


def _reference_rows(members: Sequence[int], references: Mapping[int, Group]) -> Tensor | None:
    """Return the rows of each image's references among these images [n, K], or None if there are no references."""
    row = {member: place for place, member in enumerate(members)}
    rows = [[row[reference] for reference in references[member]] for member in members]
    return torch.tensor(rows) if rows[0] else None

"""References that are the same for every image, described and prepared once."""

from __future__ import annotations

import os
from collections.abc import Sequence

from torch import Tensor

from dualclip_lightning.scoring.reference.comparison import Descriptors, ReferenceScoring
from dualclip_lightning.scoring.reference.fitted import Fitted


class ReferenceBank:
    """References of every image with another name.

    Args:
        scoring: how images are compared with them.
        names: R paths.
        class_embeddings: [R, D].
        descriptors: tensors [R, N, ..., C], as from `ReferenceScoring.as_reference`.
    """

    def __init__(
        self, scoring: ReferenceScoring, names: Sequence[str], class_embeddings: Tensor, descriptors: Descriptors
    ) -> None:
        self.scoring = scoring
        self.names = [os.path.realpath(name) for name in names]
        self.class_embeddings = class_embeddings
        self.descriptors = descriptors
        self._last: tuple[list[int], list[Fitted]] = ([], [])

    def rows(self, name: str) -> list[int]:
        """Return the rows of the references of an image with this path, or without a path if it is empty."""
        own = os.path.realpath(name) if name else ""
        return [row for row, other in enumerate(self.names) if other != own]

    def score(self, image: Descriptors, rows: list[int]) -> Tensor:
        """Return A_V [1, h, w] of an image [1, h, w, ..., C] against some rows, which are fitted once."""
        if self._last[0] != rows:
            chosen = ([own[None, row] for row in rows] for own in self.descriptors)
            self._last = (rows, list(self.scoring.fit(chosen)))
        return self.scoring.score(image, self._last[1])

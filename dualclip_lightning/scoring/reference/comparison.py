"""Comparison of an image with its references, for references of any origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.scoring.reference.depths import check_depths, check_stem
from dualclip_lightning.scoring.reference.fitted import Fitted, NearestInBatch, NearestPatches, Subspaces
from dualclip_lightning.scoring.reference.nearest import near_places
from dualclip_lightning.scoring.reference.neighbourhood import Weighting, aggregate, check_sides
from dualclip_lightning.scoring.reference.subspace import check_explained_variance, fit_subspace
from dualclip_lightning.scoring.rscin import check_neighbours, rscin_of_first
from dualclip_lightning.utilities.arguments import (
    check_choice,
    check_share,
    check_switches,
    check_whole_list,
)

ReferencePath = Literal["vv", "ordinary", "stem"]
Fusion = Literal["mean", "lowest", "subspace"]
Layers = Sequence[Tensor]
"""Patch tokens [B, h, w, C] of several layers, or [B, h, w, n, C] with n places for each patch."""
Descriptors = tuple[Tensor, ...]
"""Compared vectors of length 1: tensors [B, h, w, C], or [B, N, C] of references, whose distances are averaged.

Where a patch has n places, there is one more dimension: [B, h, w, n, C] and [B, N, n, C]."""
ARGUMENTS = {
    "reference_layers": "layers",
    "reference_path": "path",
    "neighbourhood": "neighbourhood",
    "neighbourhood_weighting": "weighting",
    "reference_fusion": "fusion",
    "lowest": "lowest",
    "explained_variance": "explained_variance",
    "reference_rotations": "rotations",
    "class_neighbours": "class_neighbours",
}
"""Parameters of `ReferenceScoring` by the arguments of `DualImageCLIP` that set them."""


@dataclass(frozen=True)
class ReferenceScoring:
    """The parameters of the comparison with references; the defaults are the paper's (arXiv 2405.04782, eq. 5).

    An image is described once by its `descriptors`, one for each layer and neighbourhood. References are prepared by
    `fit`, and `score` compares. All distances are on one scale: one minus the cosine, which is half the squared
    distance of vectors of length 1, clamped to [0, 1]. Where a patch has several places, each is compared with all
    places of a reference, and the patch has the largest of their distances.

    Args:
        layers: depths of the patch tokens that are compared, as shares of the tower's blocks in (0, 1].
        path: "vv" for the V-V path, after `ln_post` and the projection, or "ordinary" for the tokens of the ordinary
            stream as they are, as in MuSc; or "stem" for the maps of a convolutional stem, which are no layers of the
            tower and have no neighbourhoods.
        neighbourhood: odd sides r, in patches, of the neighbourhoods over which tokens are aggregated; 1 for none.
        weighting: "mean" as in MuSc, or "similarity" as in MuSc-V2 (`neighbourhood_similarity`).
        fusion: how K references are joined. "mean": mean of the distances to each (paper). "lowest": mean of the lowest
            share of them, at least one, as in MuSc, so that a few anomalous references do no harm. "subspace": half the
            squared distance to the principal subspace of the patches of all references (SubspaceAD). Assumed: there,
            vectors have length 1, so that the residual is on the scale of the other distances; the released code has
            unnormalised vectors and an unbounded residual.
        lowest: share of the references for "lowest".
        explained_variance: share of the variance that the subspace explains, in (0, 1).
        rotations: compare also with each reference turned by 90, 180 and 270 degrees, as part of the same reference.
        class_neighbours: numbers of images, including itself, over which the class-token score of an image is smoothed
            with those of its references (RsCIN of MuSc); None for no smoothing.

    Raises:
        ValueError: a parameter is out of range or unknown; the message calls it as `DualImageCLIP` does.

    Example:
        >>> import torch
        >>> from dualclip_lightning.scoring import ReferenceScoring
        >>> scoring = ReferenceScoring(fusion="lowest")
        >>> image = scoring.descriptors([torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)])  # two patches
        >>> references = [torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.6, 0.8]]])]  # two, of one patch each
        >>> scoring.score(image, scoring.fit([references]))
        tensor([[[0.4000, 0.0000]]])
    """

    layers: Sequence[float] = (1.0,)
    path: ReferencePath = "vv"
    neighbourhood: Sequence[int] = (1,)
    weighting: Weighting = "mean"
    fusion: Fusion = "mean"
    lowest: float = 0.3
    explained_variance: float = 0.99
    rotations: bool = False
    class_neighbours: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_depths(self.layers)
        check_choice("reference_path", self.path, get_args(ReferencePath))
        check_sides("neighbourhood", self.neighbourhood)
        check_choice("neighbourhood_weighting", self.weighting, get_args(Weighting))
        check_choice("reference_fusion", self.fusion, get_args(Fusion))
        check_share("lowest", self.lowest)
        check_explained_variance(self.explained_variance)
        check_switches(reference_rotations=self.rotations)
        if self.class_neighbours is not None:
            check_whole_list("class_neighbours", self.class_neighbours, (1, 2, 3))
            check_neighbours(self.class_neighbours, "class_neighbours")
        check_stem(self.path, self.layers, self.neighbourhood)
        for name in ("layers", "neighbourhood", "class_neighbours"):  # so that equal settings compare equal
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    def changed(self) -> dict[str, Any]:
        """Return the values that are not the paper's, by the arguments of `DualImageCLIP`."""
        found = {argument: getattr(self, name) for argument, name in ARGUMENTS.items()}
        return {argument: value for argument, value in found.items() if value != getattr(PAPER, ARGUMENTS[argument])}

    def descriptors(self, layers: Layers) -> Descriptors:
        """Return the descriptors of images from the tokens of their layers, in single precision."""
        if self.path == "stem":
            return tuple(F.normalize(layer.float(), dim=-1) for layer in layers)
        tokens = (each for layer in layers for each in aggregate(layer, self.neighbourhood, self.weighting))
        return tuple(F.normalize(each.float(), dim=-1) for each in tokens)

    def as_reference(self, images: Tensor, own: Descriptors, encode: Callable[[Tensor], Layers]) -> Descriptors:
        """Return the descriptors [B, N, ..., C] of images as references, from their own and those of rotations.

        Args:
            images: [B, 3, H, W], preprocessed.
            own: their descriptors.
            encode: function from images to the tokens of their layers, which encodes the rotations.
        """
        turns = [images.rot90(times, (-2, -1)) for times in (1, 2, 3) if self.rotations]
        copies = [own, *(self.descriptors(encode(turned)) for turned in turns)]
        return tuple(torch.cat([part.flatten(1, 2) for part in parts], dim=1) for parts in zip(*copies, strict=True))

    def fit(self, references: Iterable[Sequence[Tensor]]) -> Iterator[Fitted]:
        """Prepare references for `score`, one descriptor after the other.

        Args:
            references: for every descriptor the K references [B, N, ..., C] of B queries; N may differ between them.
        """
        return map(self._fit, references)

    def fit_batch(self, described: Descriptors, rows: Tensor) -> Iterator[Fitted]:
        """Prepare the images of a batch as references of each other.

        Args:
            described: descriptors [B, N, ..., C] of all images as references.
            rows: [B, K], the rows of each image's references.
        """
        if self.rotations or self.fusion == "subspace":  # the references differ from the images
            return self.fit([each[own] for own in rows.T] for each in described)
        return (NearestInBatch(rows, self._share) for _ in described)

    @property
    def _share(self) -> float | None:
        return None if self.fusion == "mean" else self.lowest

    def _fit(self, references: Sequence[Tensor]) -> Fitted:
        listed = [each.flatten(1, -2) for each in references]
        if self.fusion == "subspace":
            return Subspaces([fit_subspace(own, self.explained_variance) for own in torch.cat(listed, dim=1)])
        return NearestPatches(listed, self._share)

    def score(self, queries: Descriptors, fitted: Iterable[Fitted], near: Sequence[Tensor] | None = None) -> Tensor:
        """Return A_V [B, h, w], the mean over the descriptors of the distances to the references.

        Args:
            queries: descriptors [B, h, w, ..., C] of the images.
            fitted: their references, from `fit`; those of a single query serve all queries.
            near: as in `nearest_distances`; not for a subspace.

        Raises:
            ValueError: `near` is given for a subspace, or does not fit.
        """
        maps = []
        for query, own in zip(queries, fitted, strict=True):
            found = own.distances(query.flatten(1, -2), near_places(near, query.shape[3:-1].numel()))
            maps.append(found.unflatten(1, (*query.shape[1:3], -1)).amax(dim=3))
        return torch.stack(maps).mean(dim=0)

    def class_scores(self, scores: Tensor, embeddings: Tensor) -> Tensor:
        """Return class-token scores [B] of images, smoothed over their references if `class_neighbours` is set.

        Args:
            scores: [B, 1 + K], the class-token scores of each image and of its references.
            embeddings: [B, 1 + K, D], their class embeddings.
        """
        if self.class_neighbours is None:
            return scores[:, 0]
        unit = F.normalize(embeddings.float(), dim=-1)
        return rscin_of_first(scores, unit, self.class_neighbours)


PAPER = ReferenceScoring()
"""Comparison of the paper: the V-V embeddings of the last layer by eq. 5."""

"""Scores of the views of one image, by itself or against its references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.predict.input.encoding import batch_places, descriptors, embedded
from dualclip_lightning.predict.input.geometry import ViewPlan
from dualclip_lightning.predict.input.reader import (
    EncodedImage,
    LayerSet,
    PatchSet,
    Reference,
    ViewBatch,
    view_names,
)
from dualclip_lightning.predict.input.views import blend
from dualclip_lightning.scoring import ReferenceScoring, within_window

if TYPE_CHECKING:
    from dualclip_lightning.backbone import ReferenceEncoder
    from dualclip_lightning.scoring.dual_image import DualImageScoring
    from dualclip_lightning.scoring.reference.fitted import Fitted


class Scorer(Protocol):
    """Scorer of images by a method."""

    def score(self, image: EncodedImage, references: Sequence[Reference], name: str) -> tuple[float, Tensor]:
        """Return the image score, and the map on the image's lattice [rows, columns], on the CPU.

        With several views, their maps are blended and the highest of their scores is returned.
        """


class DualImageScorer:
    """Dual-Image CLIP (arXiv 2405.04782) on the views of one image; with one view it is the method as published.

    Args:
        encoder: encoder of the pseudo-anomalous copies of adaptation.
        anchors: text anchors [2, D].
        scoring: combination of the scores.
        window: largest distance of a reference's patch from a patch's place, as a share of the side; None for no limit.
        comparison: how images are compared with their references, the same as that of the encoder of images.
    """

    def __init__(
        self,
        encoder: ReferenceEncoder,
        anchors: Tensor,
        scoring: DualImageScoring,
        window: float | None = None,
        comparison: ReferenceScoring | None = None,
    ) -> None:
        self.encoder = encoder
        self.anchors = anchors
        self.scoring = scoring
        self.window = window
        self.comparison = comparison or ReferenceScoring()
        self._last: tuple[Sequence[PatchSet], list[Fitted]] = ((), [])

    @torch.inference_mode()
    def score(self, image: EncodedImage, references: Sequence[Reference], name: str) -> tuple[float, Tensor]:
        """See `Scorer`; with several views, the highest class-token score is used."""
        classes, class_scores, maps = [], [], []
        others = [_encoded(reference) for reference in references]
        for batch in image.batches():
            classes.append(embedded(batch).class_embedding)
            class_scores.append(self.scoring.text(classes[-1], self.anchors))
            maps.append(self._maps(image.plan, batch, others, name).cpu())
        score_map = blend(image.plan, torch.cat(maps))
        class_score = self._class_score(torch.cat(class_scores).amax(), torch.cat(classes), others).cpu()
        return float(self.scoring.image_scores(class_score[None], score_map[None])), score_map

    def _class_score(self, score: Tensor, own: Tensor, references: Sequence[PatchSet]) -> Tensor:
        """Return the class-token score [] of an image, smoothed over its references if the comparison does so."""
        if not references:
            return score
        others = [each.class_embeddings.to(own.device) for each in references]
        scores = torch.stack([score, *(self.scoring.text(each, self.anchors).amax() for each in others)])
        means = torch.stack([F.normalize(each, dim=-1).mean(dim=0) for each in (own, *others)])
        return self.comparison.class_scores(scores[None], means[None])[0]

    def _maps(self, plan: ViewPlan, batch: ViewBatch, references: Sequence[PatchSet], name: str) -> Tensor:
        """Return the maps of all views [V, h, w]."""
        patches = embedded(batch).patch_embeddings
        visual = self._visual(plan, batch, references) if references else None
        joint = self.scoring.joint_map(self.scoring.text(patches, self.anchors), visual)
        images = batch.images.to(patches.device)
        names = view_names(plan, batch.first, len(images), name)
        return self.scoring.final_map(joint, patches, images, names, self.anchors, self.encoder.patch_embeddings)

    def _visual(self, plan: ViewPlan, batch: ViewBatch, references: Sequence[PatchSet]) -> Tensor:
        """Return A_V [V, h, w] of all views, which are treated as one tall image."""
        near = None
        if self.window is not None:
            places = batch_places(plan, batch)
            near = [within_window(places, each.places, self.window).to(self.anchors.device) for each in references]
        own = descriptors(batch)
        tall = tuple(each.flatten(0, 1)[None] for each in own)
        return self.comparison.score(tall, self._fitted(references), near).view(own[0].shape[:3])

    def _fitted(self, references: Sequence[PatchSet]) -> list[Fitted]:
        """Return the references ready for comparison; the last are kept, as given references are always the same."""
        known, fitted = self._last
        if len(known) != len(references) or any(a is not b for a, b in zip(known, references, strict=True)):
            device = self.anchors.device
            kinds = zip(*(each.descriptors for each in references), strict=True)
            fitted = list(self.comparison.fit([own[None].to(device) for own in kind] for kind in kinds))
            self._last = (references, fitted)
        return fitted


def _encoded(reference: Reference) -> PatchSet:
    if not isinstance(reference, PatchSet):
        msg = f"The reference '{reference.name}' is not encoded."
        raise TypeError(msg)
    return reference


class MethodScorer:
    """Any other method, from what a `MethodReader` has computed.

    The maps are those that the method draws at the size of a view, with one value per pixel.

    Args:
        model: the method as a plain module, on its device.
        compares: True if it takes references, through `compare` and `draw`; images then have one view.
    """

    def __init__(self, model: Any, *, compares: bool) -> None:
        self.model = model
        self.compares = compares

    @torch.inference_mode()
    def score(self, image: EncodedImage, references: Sequence[Reference], name: str) -> tuple[float, Tensor]:
        """See `Scorer`."""
        del name
        found = [torch.cat(parts) for parts in zip(*(batch.computed for batch in image.batches()), strict=True)]
        pixels = image.plan.in_pixels()
        scores, maps = self._compare(found, references, pixels.view) if self.compares else found
        return float(scores.amax()), blend(pixels, maps)

    def _compare(
        self, layers: Sequence[Tensor], references: Sequence[Reference], size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the score [1] and map [1, H, W] of an image with these layers [1, h, w, C]."""
        others = [each.layers for each in references if isinstance(each, LayerSet)]
        together = [torch.cat(parts) for parts in zip(layers, *others, strict=True)]
        rows = torch.arange(1, 1 + len(others), device=layers[0].device)[None] if others else None
        found = self.model.draw(self.model.compare(together, rows, size), size)
        return found.pred_score.float().cpu(), found.anomaly_map.float().cpu()

"""Scores of the views of one image, by itself or against its references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from dualclip_lightning.predict.input.encoding import batch_places, embedded
from dualclip_lightning.predict.input.geometry import ViewPlan
from dualclip_lightning.predict.input.reader import EncodedImage, PatchSet, Reference, ViewBatch, ViewSet
from dualclip_lightning.predict.input.views import blend
from dualclip_lightning.scoring import ReferenceScoring, within_window
from dualclip_lightning.utilities.seeding import file_identity

if TYPE_CHECKING:
    from dualclip_lightning.backbone import DualPathVisionEncoder, TwoTowerEncoder
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
        encoder: DualPathVisionEncoder | TwoTowerEncoder,
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
        images, names = batch.images.to(patches.device), view_names(plan, batch, name)
        return self.scoring.final_map(joint, patches, images, names, self.anchors, self.encoder.patch_embeddings)

    def _visual(self, plan: ViewPlan, batch: ViewBatch, references: Sequence[PatchSet]) -> Tensor:
        """Return A_V [V, h, w] of all views, which are treated as one tall image."""
        near = None
        if self.window is not None:
            places = batch_places(plan, batch)
            near = [within_window(places, each.places, self.window).to(self.anchors.device) for each in references]
        tall = tuple(each.flatten(0, 1)[None] for each in batch.descriptors)
        return self.comparison.score(tall, self._fitted(references), near).view(batch.descriptors[0].shape[:3])

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
    """Any method that scores images by themselves or by given references, on the views of one image.

    The maps are those that the method draws at the size of a view, with one value per pixel.

    Args:
        model: the method as a plain module, on `device`.
        device: device of the model.
        compares: True if it takes references, through `predict_patches` and `draw`; images then have one view.
        named: True if it takes names, from which it derives its random seeds.
    """

    def __init__(self, model: Any, device: torch.device, *, compares: bool, named: bool) -> None:
        self.model = model
        self.device = device
        self.compares = compares
        self.named = named

    @torch.inference_mode()
    def score(self, image: EncodedImage, references: Sequence[Reference], name: str) -> tuple[float, Tensor]:
        """See `Scorer`."""
        scores, maps = [], []
        for batch in image.batches():
            images, names = batch.images.to(self.device), view_names(image.plan, batch, name)
            found = self._compare(images, references, names) if self.compares else self._score(images, names)
            scores.append(found.pred_score.float().cpu())
            maps.append(found.anomaly_map.float().cpu())
        return float(torch.cat(scores).amax()), blend(image.plan.in_pixels(), torch.cat(maps))

    def _score(self, images: Tensor, names: Sequence[str]) -> Any:
        return self.model(images, names) if self.named else self.model(images)

    def _compare(self, images: Tensor, references: Sequence[Reference], names: Sequence[str]) -> Any:
        """Compare the first image with the others, all in one batch."""
        others = [
            each.views.to(self.device) for each in references if isinstance(each, ViewSet) and each.views is not None
        ]
        rows = torch.arange(1, 1 + len(others), device=self.device)[None] if others else None
        prediction = self.model.predict_patches(torch.cat([images, *others]), rows, names)
        return self.model.draw(prediction, images.shape[-2:])


def view_names(plan: ViewPlan, batch: ViewBatch, name: str) -> list[str]:
    """Return the names from which a method derives its seeds: the image's path, and the view's number if needed."""
    if len(plan.corners) == 1:
        return [name]
    name = file_identity(name)
    return [f"{name}#{batch.first + i}" for i in range(len(batch.images))]

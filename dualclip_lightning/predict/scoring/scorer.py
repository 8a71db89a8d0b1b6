"""Dual-Image CLIP (arXiv 2405.04782) on the views of one image, whatever its references are and wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualclip_lightning.predict.input.encoding import EncodedImage, PatchSet, ViewBatch, batch_places
from dualclip_lightning.predict.input.geometry import ViewPlan, blend
from dualclip_lightning.scoring import image_score, joint_score, reference_score, text_score, within_window
from dualclip_lightning.utilities.seeding import file_identity

if TYPE_CHECKING:
    from dualclip_lightning.adaptation import TestTimeAdaptation
    from dualclip_lightning.backbone import DualPathVisionEncoder


class DualImageScorer:
    """Scores one image against its references.

    Args:
        encoder: for the pseudo-anomalous copies of adaptation.
        anchors: [2, D].
        temperature: of the softmax over the two states.
        alpha: weight of the text map in the joint map (eq. 6).
        class_weight: weight of the class-token score in the image score (eq. 13).
        window: how far from a patch's place a reference's patch may lie, as a share of the side; None for anywhere.
        adaptation: at test time, or None.
    """

    def __init__(
        self,
        encoder: DualPathVisionEncoder,
        anchors: Tensor,
        temperature: float,
        alpha: float,
        class_weight: float,
        window: float | None,
        adaptation: TestTimeAdaptation | None,
    ) -> None:
        self.encoder = encoder
        self.anchors = anchors
        self.temperature = temperature
        self.alpha = alpha
        self.class_weight = class_weight
        self.window = window
        self.adaptation = adaptation

    @torch.inference_mode()
    def score(self, image: EncodedImage, references: Sequence[PatchSet], name: str) -> tuple[float, Tensor]:
        """Image score, and the map on the image's lattice [rows, columns], on the CPU.

        Of several views the map is blended and the highest class-token score counts; with one view this is the method
        as published.
        """
        class_scores, maps = [], []
        for batch in image.batches():
            class_scores.append(text_score(batch.features.class_embedding, self.anchors, self.temperature))
            maps.append(self._maps(image.plan, batch, references, name).cpu())
        score_map = blend(image.plan, torch.cat(maps))
        class_score = torch.cat(class_scores).amax().cpu()
        return float(image_score(class_score[None], score_map[None], self.class_weight)), score_map

    def _maps(self, plan: ViewPlan, batch: ViewBatch, references: Sequence[PatchSet], name: str) -> Tensor:
        """The map of every view [V, h, w] (eq. 2 to 6, with adaptation 7 to 12)."""
        patches = batch.features.patch_embeddings
        joint = text_score(patches, self.anchors, self.temperature)
        if references:
            places = batch_places(plan, batch)
            visual = torch.stack([self._visual(patches, places, reference) for reference in references]).mean(dim=0)
            joint = joint_score(joint, visual, self.alpha)
        if self.adaptation is None or not self.adaptation.settings.steps:
            return joint
        adapted = self.adaptation.adapted_map(
            self._patches, batch.images.to(patches.device), _view_names(plan, batch, name), patches, joint,
            self.anchors, self.temperature,
        )  # fmt: skip
        return joint_score(adapted, joint, self.adaptation.settings.map_weight)

    def _visual(self, patches: Tensor, places: Tensor, reference: PatchSet) -> Tensor:
        """Distances [V, h, w] to one reference (eq. 5); all views count as one tall image."""
        tall = patches.flatten(0, 1).unsqueeze(0)
        near = None
        if self.window is not None:
            near = within_window(places, reference.places, self.window).to(patches.device)
        score = reference_score(tall, reference.embeddings[None, None].to(patches.device), near)
        return score.view(patches.shape[:3])

    def _patches(self, images: Tensor) -> Tensor:
        return self.encoder(images).patch_embeddings


def _view_names(plan: ViewPlan, batch: ViewBatch, name: str) -> list[str]:
    """What adaptation takes its seeds from: the image's path, and the number of the view where there are several."""
    if len(plan.corners) == 1:
        return [name]
    name = file_identity(name)
    return [f"{name}#{batch.first + i}" for i in range(len(batch.images))]

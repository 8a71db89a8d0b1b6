"""Combination of the scores of Dual-Image CLIP (arXiv 2405.04782, eq. 6 to 13), for references of any origin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from dualclip_lightning.scoring.fusion import image_score, joint_score
from dualclip_lightning.scoring.text import text_score
from dualclip_lightning.utilities.arguments import check_share, check_temperature

if TYPE_CHECKING:
    from dualclip_lightning.adaptation import TestTimeAdaptation


@dataclass(frozen=True)
class DualImageScoring:
    """Combination and adaptation of text and reference scores, shared by the Lightning model and `Detector`.

    Args:
        temperature: temperature of the softmax over the two states; above 0.
        alpha: weight of the text map in the joint map, in [0, 1] (eq. 6); 1 is text only.
        class_weight: weight of the class-token score in the image score, in [0, 1] (eq. 13).
        adaptation: test-time adaptation, or None for the method without it.

    Raises:
        ValueError: a number is out of range.
    """

    temperature: float = 0.07
    alpha: float = 0.5
    class_weight: float = 0.5
    adaptation: TestTimeAdaptation | None = None

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_share("alpha", self.alpha)
        check_share("class_weight", self.class_weight)

    def text(self, embeddings: Tensor, anchors: Tensor) -> Tensor:
        """Return text scores [...] of embeddings [..., D] of the class token or of patches (eq. 1 to 4)."""
        return text_score(embeddings, anchors, self.temperature)

    def joint_map(self, text: Tensor, visual: Tensor | None) -> Tensor:
        """Return A_J from A_T and A_V of equal shape (eq. 6), or A_T for an image without references."""
        return text if visual is None else joint_score(text, visual, self.alpha)

    def final_map(
        self, joint: Tensor, patches: Tensor, images: Tensor, names: Sequence[str], anchors: Tensor,
        encode: Callable[[Tensor], Tensor],
    ) -> Tensor:  # fmt: skip
        """Combine the joint map [B, h, w] with the adapted text map (eq. 7 to 12); unchanged without adaptation.

        Args:
            joint: A_J.
            patches: [B, h, w, D], patch embeddings of the images.
            images: [B, 3, H, W], preprocessed.
            names: names that give the seeds of adaptation; if empty, the pixels give them.
            anchors: [2, D].
            encode: function from images to patch embeddings, for pseudo-anomalous copies.
        """
        if self.adaptation is None or not self.adaptation.settings.steps:
            return joint
        adapted = self.adaptation.adapted_map(encode, images, names, patches, joint, anchors, self.temperature)
        return joint_score(adapted, joint, self.adaptation.settings.map_weight)

    def image_scores(self, class_scores: Tensor, maps: Tensor) -> Tensor:
        """Return image scores [B] from class-token scores [B] and final maps [B, h, w] (eq. 13)."""
        return image_score(class_scores, maps, self.class_weight)

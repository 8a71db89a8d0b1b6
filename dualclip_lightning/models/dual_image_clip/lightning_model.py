"""Dual-Image CLIP as an anomalib model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.adaptation import AdaptationSettings, TestTimeAdaptation
from dualclip_lightning.backbone import (
    check_reference_backbone,
    load_reference_backbone,
    reference_encoder,
)
from dualclip_lightning.backbone.checkpoints.choosing import DEFAULT_WEIGHTS
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.dual_image_clip.torch_model import DualImageCLIPModel, check_num_references
from dualclip_lightning.models.references import Bank, Pairs, folder_images
from dualclip_lightning.prompts import TextMean
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.scoring import ReferenceScoring
from dualclip_lightning.scoring.dual_image import DualImageScoring
from dualclip_lightning.scoring.reference.comparison import PAPER, Fusion, ReferencePath
from dualclip_lightning.scoring.reference.neighbourhood import Weighting
from dualclip_lightning.utilities.arguments import check_path


class DualImageCLIP(ZeroShotShell, AnomalibModule):
    """Dual-Image Enhanced CLIP: two unlabelled test images serve as each other's visual reference.

    The method of arXiv 2405.04782. The class token gives a text score for the image, and V-V patch tokens give a text
    map (eq. 1 to 4) and, compared with the patches of another test image, a visual map (eq. 5). The maps are combined
    (eq. 6), and the image score combines the class-token score with the maximum of the map (eq. 13). With `tta`, an
    adapter fitted to the image and a pseudo-anomalous copy of it adds another text map (eq. 7 to 12).

    Given by the paper: the backbone, its preprocessing at 240x240, the prompts, random pairs, one reference. Given by
    the released code of AnoCLIP, whose text branch and architecture the paper uses: `text_mean`, `drawing`, and
    squashing of images. Assumed, because the available text of the paper does not state them: temperature, alpha,
    class_weight, and that the maximum in eq. 13 is taken over patches, so that image scores do not depend on the
    drawing. None may be tuned on test labels.

    Example:
        >>> import torch
        >>> from dualclip_lightning import DualImageCLIP
        >>> method = DualImageCLIP(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        num_references: K, the number of references per image; the paper uses 1 and reports diminishing returns.
        temperature: temperature of the softmax over the two states. Assumed.
        alpha: weight of the text map against the visual map, in [0, 1]; 1 is text only. Assumed.
        class_weight: weight of the class-token score against the maximum of the map, in [0, 1]. Assumed.
        vv_blocks: numbers of the blocks in the V-V path, counted from 1; None for all, as published.
        reference_dir: folder of images that are the references of every image, instead of pairs. Every image is
            compared with all of them, and num_references is ignored.
        reference_layers: depths of the patch tokens that are compared with references, as shares of the tower's blocks,
            such as [0.25, 0.5, 0.75, 1.0]; their distances are averaged. None for the last layer, as published. With
            alpha 1, this argument and those below down to `class_neighbours` have no effect.
        reference_path: "vv" for V-V tokens, projected as published, or "ordinary" for the tokens of the ordinary stream
            as they are, as in MuSc. "stem" compares the maps of a convolutional stem, which the demo model has: all its
            stages, each on its own grid, where a patch has the largest distance of the places in it; a stem has no
            reference_layers and no neighbourhood. Texts are always compared with the projected V-V tokens of the last
            layer.
        neighbourhood: odd sides, in patches, of the neighbourhoods over which the compared tokens are aggregated, such
            as [1, 3] (MuSc); [1] for none, as published.
        neighbourhood_weighting: "mean" as in MuSc, which averages the distances of all sides, or "similarity" as in
            MuSc-V2, which averages the tokens of all sides.
        reference_fusion: how the distances to several references are joined: "mean" as published; "lowest" for the mean
            of the lowest share, as in MuSc, which survives anomalous references; or "subspace" for the distance to the
            principal subspace of the patches of all references (SubspaceAD), which is slow unless reference_dir is set.
        lowest: share of the references that "lowest" averages, at least one; MuSc uses 0.3.
        explained_variance: share of the variance that the subspace explains; SubspaceAD uses 0.99. Assumed: tokens of
            length 1, and half the squared distance, which is on the scale of the other distances.
        reference_rotations: compare also with references turned by 90, 180 and 270 degrees, which takes three more
            encodings of each.
        class_neighbours: numbers of images, such as [1, 2, 3], over which the class-token score is smoothed: the image
            and the most similar of its references (RsCIN of MuSc); None for no smoothing, as published.
        reference_backbone: another tower whose tokens are compared with references instead of those of CLIP, which
            keeps the texts: a name as of `backbone`, such as "timm:vit_base_patch14_reg4_dinov2.lvd142m". It sees the
            same images with as many patches as CLIP has, so that a larger image_size gives it more, and needs
            reference_path "ordinary". A convolutional network such as "timm:wide_resnet50_2" needs reference_layers,
            shares of its stages: [0.5, 0.75] for strides 8 and 16. None for CLIP, as published.
        reference_pretrained: weights of `reference_backbone`, as of `pretrained`.
        tta: test-time adaptation on pseudo anomalies; True for the paper's settings, or a mapping with some arguments
            of `dualclip_lightning.adaptation.AdaptationSettings`, such as {"steps": 4, "textures": "path/to/dtd"}.
        text_mean: how the text embeddings of a state are averaged to an anchor: "raw" without normalisation, as in the
            released code of AnoCLIP, or "unit" with embeddings of length 1.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.PAIR
    levers = ("lower image_size", "lower num_references", "set tta to false")

    def __init__(
        self,
        *,
        num_references: int = 1,
        temperature: float = 0.07,
        alpha: float = 0.5,
        class_weight: float = 0.5,
        vv_blocks: list[int] | None = None,
        reference_dir: str | Path | None = None,
        reference_layers: list[float] | None = None,
        reference_path: ReferencePath = "vv",
        neighbourhood: list[int] | tuple[int, ...] = (1,),
        neighbourhood_weighting: Weighting = "mean",
        reference_fusion: Fusion = "mean",
        lowest: float = 0.3,
        explained_variance: float = 0.99,
        reference_rotations: bool = False,
        class_neighbours: list[int] | None = None,
        reference_backbone: str | None = None,
        reference_pretrained: str = DEFAULT_WEIGHTS,
        tta: bool | dict[str, Any] = False,
        text_mean: TextMean = "raw",
        drawing: str | dict[str, Any] = "anoclip",
        **common: Any,
    ) -> None:
        check_num_references(num_references)
        DualImageScoring(temperature, alpha, class_weight)  # refuses numbers out of range before weights are loaded
        check_path("reference_dir", reference_dir)
        check_text_side(temperature, text_mean, vv_blocks)
        settings = AdaptationSettings.from_choice(tta)
        comparison = ReferenceScoring(
            PAPER.layers if reference_layers is None else reference_layers, reference_path, neighbourhood,
            neighbourhood_weighting, reference_fusion, lowest, explained_variance, reference_rotations,
            class_neighbours,
        )  # fmt: skip
        check_reference_backbone(reference_backbone, reference_pretrained, reference_path)
        super().__init__(drawing=drawing, **common)
        self.reference_backbone = load_reference_backbone(reference_backbone, reference_pretrained, self.seed)
        self.kind = Kind.INDUCTIVE if alpha == 1 else Kind.PAIR
        pixels = self.backbone.preprocessing
        encoder = reference_encoder(
            self.backbone.visual, vv_blocks, comparison.layers, comparison.path, pixels, self.reference_backbone
        )
        self.model: DualImageCLIPModel = DualImageCLIPModel(
            encoder,
            num_references, temperature, alpha, class_weight,
            None if settings is None else TestTimeAdaptation(settings, pixels.mean, pixels.std, self.seed),
            self.drawing, comparison,
        )  # fmt: skip
        self.references = (
            Pairs(self.model, num_references, self.seed)
            if reference_dir is None
            else Bank(self.model, partial(folder_images, reference_dir))
        )

    def provenance(self) -> dict[str, Any]:
        """Return the provenance of every method, with the other tower and a digest of textures of one's own."""
        adaptation, other = self.model.scoring.adaptation, self.reference_backbone
        found = super().provenance()
        if other is not None:
            found["reference_backbone"] = other.identity() | {"weights_origin": dict(other.origin)}
        if adaptation is not None and adaptation.settings.textures is not None:
            found["textures_sha256"] = adaptation.source.digest()
        return found

    def unexportable(self) -> str | None:
        """See `ExportMixin`."""
        if self.model.scoring.adaptation is not None:
            return "adaptation takes gradients at test time; set tta to false"
        reason = super().unexportable()
        return reason and f"{reason}; set alpha to 1 for only its text score"

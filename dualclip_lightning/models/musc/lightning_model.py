"""MuSc and its form for pairs, MuSc-2 (arXiv 2401.16753)."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.backbone import intermediate_encoder
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.musc.torch_model import ImageScore, MuScModel
from dualclip_lightning.models.references import Pairs, WholeSet
from dualclip_lightning.scoring.mutual import check_degrees
from dualclip_lightning.scoring.rscin import check_neighbours
from dualclip_lightning.utilities.arguments import check_blocks, check_choice, check_whole, check_whole_list


class MuSc(ZeroShotShell, AnomalibModule):
    """MuSc: unlabelled test images score each other, without text.

    Patch tokens of several layers, averaged over neighbourhoods, are compared with those of every other image; a patch
    with few similar patches in other images is anomalous (sections 3.2 and 3.3). The image score is the largest value
    of the map, smoothed over similar images (section 3.4). Distances are divided by 2, the largest distance of unit
    vectors, so that scores are in [0, 1].

    By default every score depends on all images of the run, which are read and encoded at the first batch. With
    `num_references`, random test images score an image, as in DualImageCLIP; with 1, this is MuSc-2. The image score is
    then the largest value of its own map, because smoothing over a pair would mix the scores of both images.

    The defaults are those of the released code, except for the weights tag, which is laion400m_e31 in its scripts; maps
    are enlarged with aligned corners (`drawing`). Three things differ. The lowest share of 3 images or fewer is one
    image, not none. Image scores are not scaled to [0, 1] over the set; scaling does not affect AUROC, F1max or AP, but
    would give every set a score of 1. And `subsets` are random, whereas the released code divides each kind of defect
    evenly, which needs labels.

    The method uses no text: class_name is checked and recorded, and the shared arguments words, domain, states and
    templates have no effect. The other row of the paper's table has backbone "ViT-L-14-336", pretrained "openai" and
    image_size 518. The rows of DINOv2 in the authors' repository have backbone "timm:vit_base_patch14_dinov2" or
    "timm:vit_large_patch14_dinov2" and image_size 336 or 518; tokens then pass the last layer norm of the model, as
    there, but class tokens are scaled to length 1 before smoothing, which that code does only for CLIP.

    Example:
        >>> import torch
        >>> from dualclip_lightning import MuSc
        >>> method = MuSc(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        layers: numbers of the blocks whose patch tokens are compared, counted from 1; None for the last block of every
            quarter of the tower, as published, or the stages of strides 8 and 16 of a convolutional network.
        r: odd sides, in patches, of the neighbourhoods over which tokens are averaged.
        lowest: share of the other images, those with the lowest scores for a patch, that is averaged; at least one.
        neighbours: numbers of images, including itself, over which the score of an image is smoothed; [1] for none.
            The released code uses 1, 8, 9 for VisA.
        image_score: "map" for the largest value of the map at full size, as released, or "patches" for the largest
            score of a patch, which enlargement with aligned corners usually reduces.
        num_references: number of random test images that score an image; None for all others.
        subsets: number of random parts of the data set. Images score each other within their part, which saves memory
            and time, as time grows with the square of a part.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.TRANSDUCTIVE
    uses_text: ClassVar[bool] = False

    def __init__(
        self,
        *,
        layers: list[int] | None = None,
        r: list[int] | tuple[int, ...] = (1, 3, 5),
        lowest: float = 0.3,
        neighbours: list[int] | tuple[int, ...] = (1, 2, 3),
        image_score: ImageScore = "map",
        num_references: int | None = None,
        subsets: int = 1,
        drawing: str | dict[str, Any] = "musc",
        **common: Any,
    ) -> None:
        check_blocks("layers", layers)
        check_whole_list("r", r, (1, 3, 5))
        check_degrees(r, lowest)
        check_whole_list("neighbours", neighbours, (1, 2, 3))
        check_neighbours(neighbours)
        check_choice("image_score", image_score, get_args(ImageScore))
        check_set(num_references, subsets)
        super().__init__(drawing=drawing, **common)
        self.kind = Kind.TRANSDUCTIVE if num_references is None else Kind.PAIR
        self.levers = (*self.levers, "raise subsets" if num_references is None else "lower num_references")
        encoder = intermediate_encoder(self.backbone.visual, layers)
        self.model = MuScModel(encoder, r, lowest, neighbours, num_references, image_score, self.drawing)
        self.references = (
            WholeSet(self.model, subsets, self.seed)
            if num_references is None
            else Pairs(self.model, num_references, self.seed)
        )


def check_set(num_references: int | None, subsets: int) -> None:
    """Check the numbers of references and subsets.

    Raises:
        ValueError: a number is not an integer or is below 1, or there are both references and several subsets.
    """
    if num_references is not None:
        check_whole("num_references", num_references, 1, "Set None for all other images.")
    check_whole("subsets", subsets, 1)
    if subsets > 1 and num_references is not None:
        msg = f"Expected subsets to be 1 where num_references is set, but got {subsets}."
        raise ValueError(msg)

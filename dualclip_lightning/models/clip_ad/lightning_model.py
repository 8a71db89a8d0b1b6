"""CLIP-AD: SDP, and SDP+ with layers learnt from another data set (arXiv 2311.00453)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.backbone import StagedDualPathEncoder
from dualclip_lightning.models.base import Kind
from dualclip_lightning.models.clip_ad.score_range import ScaledOverSet
from dualclip_lightning.models.clip_ad.stage_layers import StageLayers
from dualclip_lightning.models.clip_ad.torch_model import ClipADModel
from dualclip_lightning.models.clip_ad.training import AuxiliaryShell
from dualclip_lightning.models.clip_ad.training_settings import TrainingSettings
from dualclip_lightning.prompts import PromptPair, text_embeddings
from dualclip_lightning.prompts.representative import Representative, check_representative, representative_vector
from dualclip_lightning.utilities.arguments import (
    check_blocks,
    check_choice,
    check_switches,
    check_temperature,
    check_text_list,
)


class ClipAD(AuxiliaryShell, AnomalibModule):
    """CLIP-AD: representative text vectors, a staged dual path, feature surgery; in SDP+ also trained linear layers.

    SDP needs no training. SDP+ adds one linear layer per stage, trained on the labelled test images of an auxiliary
    data set: `anomalib train --model ClipAD --model.variant sdp+ --data Visa` writes a checkpoint of only these layers
    for `anomalib test --model ClipAD --model.variant sdp+ --ckpt_path ... --data MVTecAD`. Without a checkpoint a test
    is refused, and so is a test on the training data.

    Defaults are those of the released scripts for MVTec AD; those of SDP+ for VisA smooth less, `drawing={"sigma": 2}`.
    The image score uses the maximum of the drawn map, as released. Three things differ: tokens are not overwritten by
    the next block's (`released_tokens`); training shuffles its images (`shuffle`); and the image score does not depend
    on other images (`normalize_scores`). As released, the class-token score and the map's maximum are each min-max
    scaled over the test set, which gives them equal spread, before they are added. By default their mean is taken
    without scaling: the maximum of SDP's map varies little, so the class-token score has more weight, and rankings
    differ.

    Example:
        >>> import torch
        >>> from dualclip_lightning import ClipAD
        >>> method = ClipAD(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 240, 240))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 240, 240]))

    Args:
        variant: "sdp", or "sdp+" with trained layers.
        stages: numbers of the blocks, counted from 1, after which tokens are taken; None for the quarters of the tower,
            3, 6, 9 and 12 of 12 as published.
        representative: how the prompts of a state are combined: "mean", "pca", "kde", "dbscan" or "mean_shift" (see
            `dualclip_lightning.prompts.representative_vector`).
        eps: eps of dbscan; the released code has 0.5 for MVTec AD and 1.5 for VisA, also in training: SDP+ tested on
            MVTec AD is trained with 1.5 and 25.
        min_samples: min_samples of dbscan; the released code has 15 for MVTec AD and 25 for VisA.
        temperature: temperature of the softmax over the two states.
        normalize_scores: True scales image scores over the test set as released, in an additional first pass; `kind`
            is then transductive, and with sdp+ also auxiliary.
        released_tokens: True for the tokens of the released code, whose in-place sums let them hold part of the next
            block.
        auxiliary_categories: categories of the data set for training SDP+; None for the datamodule's own. The paper
            trains on all of a data set.
        epochs: epochs of training.
        batch_size: batch size of training, independent of the datamodule.
        learning_rate: learning rate of Adam.
        shuffle: whether training shuffles the images; False keeps their order, as released.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.INDUCTIVE
    wording: ClassVar[str] = "clip_ad"
    anchor_arguments: ClassVar[tuple[str, ...]] = ("representative", "eps", "min_samples", "words")

    def __init__(
        self,
        *,
        pretrained: str = "laion400m_e31",
        variant: Literal["sdp", "sdp+"] = "sdp",
        stages: list[int] | None = None,
        representative: Representative = "dbscan",
        eps: float = 0.5,
        min_samples: int = 15,
        temperature: float = 0.01,
        normalize_scores: bool = False,
        released_tokens: bool = False,
        auxiliary_categories: list[str] | None = None,
        epochs: int = 5,
        batch_size: int = 8,
        learning_rate: float = 1e-4,
        shuffle: bool = True,
        drawing: str | dict[str, Any] = "clip_ad",
        **common: Any,
    ) -> None:
        check_choice("variant", variant, ("sdp", "sdp+"))
        check_blocks("stages", stages)
        check_temperature(temperature)
        check_representative(representative, eps, min_samples)
        check_switches(normalize_scores=normalize_scores, released_tokens=released_tokens, shuffle=shuffle)
        if auxiliary_categories is not None:
            check_text_list("auxiliary_categories", auxiliary_categories, ("candle", "capsules"))
        categories = None if auxiliary_categories is None else tuple(dict.fromkeys(auxiliary_categories))
        settings = TrainingSettings(epochs, batch_size, learning_rate, shuffle, categories)
        super().__init__(pretrained=pretrained, drawing=drawing, **common)
        trains = variant == "sdp+"
        self.kind = (Kind.AUXILIARY if trains else Kind.INDUCTIVE) | (
            Kind.TRANSDUCTIVE if normalize_scores else Kind.INDUCTIVE
        )
        self.training_settings = settings if trains else None
        encoder = StagedDualPathEncoder(self.backbone.visual, stages, trains, released_tokens)
        layers = initial_layers(encoder, self.seed) if trains else None
        self.model: ClipADModel = ClipADModel(encoder, temperature, self.drawing, normalize_scores, layers)
        if normalize_scores:
            self.references = ScaledOverSet(self.model)

    def _encode_prompts(self, prompts: PromptPair) -> None:
        """Compute one representative vector per state."""
        kind, eps, min_samples = (self.hparams[name] for name in ("representative", "eps", "min_samples"))
        states = text_embeddings(self.backbone, prompts)
        vectors = [representative_vector(embeddings, kind, eps, min_samples) for embeddings in states]
        self.model.anchors = torch.stack(vectors).to(self.device)


def initial_layers(encoder: StagedDualPathEncoder, seed: int) -> StageLayers:
    """Create layers for an encoder."""
    width = encoder.visual.class_embedding.shape[0]
    dim = width if encoder.visual.proj is None else encoder.visual.proj.shape[1]
    return StageLayers(len(encoder.stages), width, dim, seed)

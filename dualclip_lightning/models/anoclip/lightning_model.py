"""AnoCLIP, also known as AnoVL (arXiv 2308.15939)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from anomalib.models.components.base import AnomalibModule

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.models.anoclip.torch_model import AdapterKind, AnoCLIPModel, NoiseSettings
from dualclip_lightning.models.base import Kind, ZeroShotShell
from dualclip_lightning.models.references import PerImage
from dualclip_lightning.prompts import PromptPair, TextMean, text_embeddings
from dualclip_lightning.prompts.anchors import check_text_side
from dualclip_lightning.utilities.arguments import check_choice, check_switches


class AnoCLIP(ZeroShotShell, AnomalibModule):
    """AnoCLIP: V-V attention, domain-aware prompts, and adaptation to noise at test time.

    The class token gives the image score, averaged over 22 views of the image; V-V patch tokens give a text map, for
    which an adapter over text embeddings is first fitted to the image's own tokens with and without noise (section
    3.4). The map is averaged over 3x3 patches and enlarged with aligned corners (`drawing`).

    The defaults are those of the released code for MVTec AD (github.com/hq-deng/AnoVL, `vl_test.py`), including
    temperature 1. Three things differ by default: AdamW starts with a fresh state for every image, whereas the code
    carries its state from image to image (`carry_optimizer`), so that scores would depend on their order; the noise of
    an image depends only on the seed and that image; and images are resized as in training, whereas the code resizes
    bilinearly (`preprocessing: {interpolation: bilinear}`).

    For VisA the released code (`vis_test.py`) is another algorithm: `resize="tiles"`, `adapter="linear"`,
    `views=False`. The short side is resized to the size of the model, the squares at both ends of the image are scored,
    and their maps and class-token scores are averaged; an adapter of the tokens replaces the one over text
    embeddings, and its loss reads the pixels of the joined map.

    Example:
        >>> import torch
        >>> from dualclip_lightning import AnoCLIP
        >>> method = AnoCLIP(pretrained="demo")
        >>> method.set_class_name("steel plate")  # anomalib's Engine does so
        >>> found = method.model(torch.rand(2, 3, 96, 96))
        >>> found.pred_score.shape, found.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 96, 96]))

    Args:
        temperature: temperature of the softmax over the two states.
        vv_blocks: numbers of the blocks in the V-V path, counted from 1; None for all, as published.
        views: average the image score over the 22 views of the released code for MVTec AD; False uses only the
            image, at a twentieth of the cost, as its code for VisA does.
        adapter: "text", over the text embeddings, or "linear", 0.5 x + 0.5 (W x/|x| + b), as released for VisA.
        steps: number of adaptation steps; 0 for none.
        learning_rate: learning rate of AdamW.
        weight_decay: weight decay of AdamW.
        noise: standard deviation of the noise added to tokens.
        carry_optimizer: carry AdamW's state from image to image as in the released code; maps then depend on the order.
        resize: "squash", "crop", or "tiles" for the two squares at the ends of an image of at most 2 to 1, as released
            for VisA; a batch then needs images of one aspect ratio.
        text_mean: how the text embeddings of a state are averaged to an anchor: "raw" without normalisation, as in the
            released code of AnoCLIP, or "unit" with embeddings of length 1.
        **common: arguments shared by all methods (`ZeroShotShell`).
    """

    kind: Kind = Kind.INDUCTIVE
    resize_modes: ClassVar[tuple[str, ...]] = (*ZeroShotShell.resize_modes, "tiles")
    levers = ("lower image_size", "set views to false", "set steps to 0")

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        vv_blocks: list[int] | None = None,
        views: bool = True,
        adapter: AdapterKind = "text",
        steps: int = 5,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        noise: float = 0.055,
        carry_optimizer: bool = False,
        resize: Literal["squash", "crop", "tiles"] = "squash",
        text_mean: TextMean = "raw",
        drawing: str | dict[str, Any] = "anoclip",
        **common: Any,
    ) -> None:
        check_choice("adapter", adapter, get_args(AdapterKind))
        check_switches(views=views, carry_optimizer=carry_optimizer)
        settings = NoiseSettings(steps, learning_rate, weight_decay, noise)
        check_text_side(temperature, text_mean, vv_blocks)
        super().__init__(resize=resize, drawing=drawing, **common)  # type: ignore[arg-type]  # one mode more
        self.kind = Kind.TRANSDUCTIVE if carry_optimizer else Kind.INDUCTIVE
        encoder = DualPathVisionEncoder(self.backbone.visual, vv_blocks)
        self.model = AnoCLIPModel(
            encoder, settings, temperature, views, carry_optimizer, self.seed, adapter, resize == "tiles", self.drawing
        )
        self.references = PerImage(self.model, named=True)

    def setup(self, stage: str) -> None:
        """Set up as the shell does; every run starts with a fresh optimiser."""
        super().setup(stage)
        self.model.forget()

    def _encode_prompts(self, prompts: PromptPair) -> None:
        super()._encode_prompts(prompts)
        if self.model.settings.steps and self.model.adapter == "text":
            self.model.texts = text_embeddings(self.backbone, prompts)

    def unexportable(self) -> str | None:
        """See `ExportMixin`."""
        if self.model.settings.steps:
            return "adaptation takes gradients at test time; set steps to 0"
        if self.model.views:
            return "its views are encoded in parts that depend on the number of images; set views to false"
        if self.model.tiles:
            return "its tiles depend on the shape of an image; set resize to squash"
        return super().unexportable()

"""AnoCLIP, also known as AnoVL (arXiv 2308.15939)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models.components.base import AnomalibModule
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from dualclip_lightning.adaptation import augmented_views, image_seeds, out_of_memory_advice
from dualclip_lightning.adaptation.anoclip import (
    RESIDUAL,
    Adapter,
    adapt_to_noise,
    apply_text_adapter,
    draw_adapter,
    draw_noise,
    enlarge_tiles,
)
from dualclip_lightning.adaptation.dual_image import apply_adapter
from dualclip_lightning.adaptation.loop import OptimizerMemory
from dualclip_lightning.arguments import (
    check_blocks,
    check_choice,
    check_from_zero,
    check_switches,
    check_temperature,
    check_whole,
)
from dualclip_lightning.backbone import ClassEncoder, DualPathVisionEncoder, prepare_backbone
from dualclip_lightning.models.base import (
    RESIZE_MODES,
    AnchoredModel,
    Kind,
    ZeroShotShell,
    check_components,
    check_prompts,
    describe_common,
    method_pre_processor,
)
from dualclip_lightning.models.views import batch_names
from dualclip_lightning.prompts import PromptPair, TextMean, Words, text_embeddings
from dualclip_lightning.scoring import DRAWINGS, MapDrawing, cut_tiles, draw, join_tiles, text_score

AdapterKind = Literal["text", "linear"]
VIEW_BATCH = 32
"""About how many views are encoded at once."""


@dataclass(frozen=True)
class NoiseSettings:
    """Numbers of AnoCLIP's adaptation, those of the released code."""

    steps: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    noise: float = 0.055
    """Standard deviation of what is added to the tokens."""

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 0)
        for name, value in vars(self).items():
            check_from_zero(name, value)


class AnoCLIPModel(AnchoredModel):
    """Preprocessed images in, scores and maps out.

    Args:
        encoder: gives class and V-V patch embeddings of a batch.
        settings: of the adaptation; 0 steps for none.
        temperature: of the softmax over the two states; above 0.
        views: whether the image score is the mean over 22 views.
        carry_optimizer: whether AdamW's state goes from image to image.
        seed: draws noise and adapters.
        adapter: "text" over the text embeddings, or "linear", without them.
        tiles: whether an image counts as the two squares at its ends, whose scores and maps are averaged.
        drawing: how the map becomes one of pixels.
    """

    def __init__(
        self,
        encoder: DualPathVisionEncoder,
        settings: NoiseSettings | None = None,
        temperature: float = 1.0,
        views: bool = True,
        carry_optimizer: bool = False,
        seed: int = 0,
        adapter: AdapterKind = "text",
        tiles: bool = False,
        drawing: MapDrawing = DRAWINGS["anoclip"],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_encoder = ClassEncoder(encoder.visual)
        self.settings = settings or NoiseSettings()
        self.temperature = temperature
        self.views = views
        self.seed = seed
        self.adapter = adapter
        self.tiles = tiles
        self.drawing = drawing
        self.memory: OptimizerMemory | None = {} if carry_optimizer else None
        self.texts: tuple[Tensor, Tensor] | None = None

    def forget(self) -> None:
        """Let AdamW start afresh with the next image, also where its state is carried."""
        if self.memory is not None:
            self.memory = {}

    def forward(self, images: Tensor, names: Sequence[str] = ()) -> InferenceBatch:
        """Scores [B] and maps [B, H, W] of images [B, 3, H, W]; seeds come from their names, or else their pixels."""
        anchors, size = self.require_anchors(), (images.shape[-2], images.shape[-1])
        tiles = cut_tiles(images) if self.tiles else images.unsqueeze(1)
        features = self.encoder(tiles.flatten(0, 1))
        classes = [features.class_embedding[None], *([self._encode_views(tiles.flatten(0, 1))] if self.views else [])]
        scores = text_score(torch.cat(classes), anchors, self.temperature).mean(dim=0)
        tokens = features.patch_embeddings.unflatten(0, tiles.shape[:2])
        if self.settings.steps:
            maps = self._adapted_map(tokens, image_seeds(self.seed, "noise", images, names), size)
        else:
            maps = text_score(tokens, anchors, self.temperature)
        scores = scores.unflatten(0, tiles.shape[:2]).mean(dim=1)
        return InferenceBatch(pred_score=scores, anomaly_map=self._draw(maps, size))

    def _draw(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps [B, H, W] of images from those of their tiles [B, T, h, w]."""
        side = (min(size), min(size)) if self.tiles else size
        drawn = draw(maps.flatten(0, 1), side, self.drawing)
        return join_tiles(drawn.unflatten(0, maps.shape[:2]), size) if self.tiles else drawn

    def _encode_views(self, images: Tensor) -> Tensor:
        """Class embeddings of all views but the image itself [21, B, D]."""
        views = augmented_views(images)[1:]
        parts = views.flatten(0, 1).split(VIEW_BATCH)
        return torch.cat([self.class_encoder(part) for part in parts]).unflatten(0, views.shape[:2])

    def _adapted_map(self, tokens: Tensor, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
        """Text map of the adapted tokens [B, T, h, w]: all images at once, or one by one where they share a state."""
        count = len(tokens) if self.memory is None else 1
        groups = zip(tokens.split(count), [seeds[i : i + count] for i in range(0, len(seeds), count)], strict=True)
        return torch.cat([self._adapt(part, own, size) for part, own in groups])

    def _adapt(self, tokens: Tensor, seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
        chosen, (apply, outputs) = self.settings, self._adapter(tokens)
        adapters = [draw_adapter(seed, outputs, tokens.shape[-1]) for seed in seeds]
        noises = [draw_noise(seed + 1, chosen.steps, tokens.shape[1:], chosen.noise) for seed in seeds]
        weight, bias = (torch.stack(part).to(tokens.device) for part in zip(*adapters, strict=True))
        noise = [torch.stack(step).to(tokens.device) for step in zip(*noises, strict=True)]
        return adapt_to_noise(
            tokens,
            noise,
            self.require_anchors(),
            apply,
            (weight, bias),
            self.temperature,
            chosen.learning_rate,
            chosen.weight_decay,
            self.memory,
            partial(enlarge_tiles, size=size) if self.tiles else None,
        )[0]

    def _adapter(self, tokens: Tensor) -> tuple[Adapter, int]:
        """What adapts the tokens, and how many outputs its linear layer has."""
        if self.adapter == "linear":
            return partial(apply_adapter, residual=RESIDUAL), tokens.shape[-1]
        if self.texts is None:
            msg = "The text embeddings are not set. Call set_class_name(...) first."
            raise RuntimeError(msg)
        texts = torch.cat(self.texts).to(tokens.device)
        return partial(apply_text_adapter, texts=texts), len(texts)


@describe_common
class AnoCLIP(ZeroShotShell, AnomalibModule):
    """AnoCLIP: V-V attention, domain-aware prompts, and adaptation to noise at test time.

    The class token gives the image score, averaged over 22 views of the image; V-V patch tokens give a text map, for
    which a text-shaped adapter is first fitted on the image's own tokens with and without noise (section 3.4). The map
    is averaged over 3x3 patches and enlarged with aligned corners (`drawing`).

    Given by the released code for MVTec AD (github.com/hq-deng/AnoVL, `vl_test.py`): everything in its defaults,
    temperature 1 included. Three things differ by default: AdamW starts afresh for every image, where the code carries
    its state from image to image (`carry_optimizer`), so that scores would depend on their order; the noise of an image
    depends only on the seed and that image; and images are resized as the weights want it, where the code resizes
    bilinearly (`preprocessing: {interpolation: bilinear}`).

    For VisA the released code (`vis_test.py`) is another algorithm: `resize="tiles"`, `adapter="linear"`,
    `views=False`. The short side is brought to the size of the model, the squares at both ends of the image are scored,
    and their maps and class-token scores averaged; an adapter of the tokens takes the place of the one over text
    embeddings, and its loss reads the pixels of the joined map.

    Args:
        {common}
        {text_mean}
        temperature: of the softmax over the two states.
        vv_blocks: numbers of the blocks, from 1, in the V-V path; None means all, as published.
        views: average the image score over the 22 views of the released code for MVTec AD; False takes only the
            image, at a twentieth of the cost, as its code for VisA does.
        adapter: "text", over the text embeddings, or "linear", 0.5 x + 0.5 (W x/|x| + b), as released for VisA.
        steps: of adaptation; 0 for none.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        noise: standard deviation of the noise added to tokens.
        carry_optimizer: True for AdamW as in the released code; maps then depend on the order of the images of a run.
        resize: beside the two above "tiles", the two squares at the ends of an image of at most 2 to 1, as released for
            VisA; a batch then needs images of one aspect ratio.

    Raises:
        {errors}
    """

    kind: Kind = "inductive"
    levers = ("lower image_size", "set views to false", "set steps to 0")

    def __init__(
        self,
        backbone: str = "ViT-B-16-plus-240",
        pretrained: str = "laion400m_e32",
        class_name: str | None = None,
        temperature: float = 1.0,
        vv_blocks: list[int] | None = None,
        views: bool = True,
        adapter: AdapterKind = "text",
        steps: int = 5,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        noise: float = 0.055,
        carry_optimizer: bool = False,
        seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        resize: Literal["squash", "crop", "tiles"] = "squash",
        preprocessing: str | dict[str, Any] | None = None,
        words: Words = "plain",
        domain: Literal["object", "texture"] | None = None,
        states: dict[str, list[str]] | None = None,
        templates: list[str] | None = None,
        text_mean: TextMean = "raw",
        drawing: str | dict[str, Any] = "anoclip",
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_temperature(temperature)
        check_blocks("vv_blocks", vv_blocks)
        check_choice("adapter", adapter, get_args(AdapterKind))
        check_switches(views=views, carry_optimizer=carry_optimizer)
        settings = NoiseSettings(steps, learning_rate, weight_decay, noise)
        check_choice("text_mean", text_mean, get_args(TextMean))
        check_choice("resize", resize, (*RESIZE_MODES, "tiles"))
        check_components(pre_processor, post_processor, evaluator, visualizer)
        check_prompts(class_name, words, domain, states, templates)
        chosen_drawing = MapDrawing.from_choice(drawing)
        clip, prepared = prepare_backbone(backbone, pretrained, preprocessing, seed, image_size)
        pre_processor = method_pre_processor(pre_processor, prepared, resize)
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self._attach(clip, class_name, seed)
        encoder = DualPathVisionEncoder(clip.visual, vv_blocks)
        tiles = resize == "tiles"
        self.model = AnoCLIPModel(
            encoder, settings, temperature, views, carry_optimizer, seed, adapter, tiles, chosen_drawing
        )
        self.kind = "transductive" if carry_optimizer else "inductive"

    def setup(self, stage: str) -> None:
        """As the shell; every run starts with a fresh optimiser."""
        super().setup(stage)
        self.model.forget()

    def _encode_prompts(self, prompts: PromptPair) -> None:
        super()._encode_prompts(prompts)
        if self.model.settings.steps and self.model.adapter == "text":
            self.model.texts = text_embeddings(self.backbone, prompts)

    def _unexportable(self) -> str | None:
        if self.model.settings.steps:
            return "adaptation takes gradients at test time; set steps to 0"
        if self.model.tiles:
            return "its tiles depend on the shape of an image; set resize to squash"
        return super()._unexportable()

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch; each image with the noise that seed and name give it."""
        del batch_idx, dataloader_idx
        with out_of_memory_advice(len(batch.image), self.levers):
            return batch.update(**self.model(batch.image, batch_names(batch))._asdict())

"""The Lightning shell that all methods share.

anomalib finds only direct subclasses of AnomalibModule by name, and would list a common base class among its models.
Therefore a method derives from both the shell and AnomalibModule, and the shell itself does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from anomalib import LearningType
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from dualclip_lightning.backbone import prepare_backbone
from dualclip_lightning.backbone.preprocessing import PRESETS, Preprocessing
from dualclip_lightning.data.missing import check_available
from dualclip_lightning.images.masks import MaskRule
from dualclip_lightning.images.reading.tensors import read_rgb
from dualclip_lightning.metrics import default_evaluator
from dualclip_lightning.models.base.arguments import NamedArguments, check_components, check_prompts
from dualclip_lightning.models.base.export import ExportMixin
from dualclip_lightning.models.base.kind import Kind
from dualclip_lightning.models.base.memory import out_of_memory_advice
from dualclip_lightning.models.base.provenance import method_provenance, write_provenance
from dualclip_lightning.models.base.run_folder import RunFolderMixin, drop_frozen_weights
from dualclip_lightning.models.references import PerImage
from dualclip_lightning.models.references.data import batch_names, geometry_of, order_data, transform_of
from dualclip_lightning.prompts import (
    WORDINGS,
    PromptPair,
    Words,
    class_words,
    prompt_ensemble,
    text_anchors,
)
from dualclip_lightning.prompts.categories import DATA_WORDS
from dualclip_lightning.scoring import MapDrawing
from dualclip_lightning.utilities.arguments import check_choice, check_precision


class ZeroShotShell(NamedArguments, RunFolderMixin, ExportMixin):
    """The constructor, prompts, steps and provenance of every method, without training, validation or labels.

    A method derives from this class and from AnomalibModule, declares its own arguments, passes the others on
    (`super().__init__(**common)`), and sets `model`, a module that returns an InferenceBatch for images [B, 3, H, W]
    and has an attribute `drawing`. The frozen CLIP is `self.backbone`, and the drawing is `self.drawing`. If images are
    compared with others, the method sets `references` (`dualclip_lightning.models.references`).

    Args:
        backbone: open_clip architecture, or "hf-hub:owner/name".
        pretrained: weights tag, file or folder; "demo" is the small model of this package with its own architecture;
            "random" is for measuring time (see `dualclip_lightning.backbone.load_backbone`).
        class_name: name of the object in the images, used in prompts unchanged; None for the datamodule's category, or
            "object" if there is none.
        seed: seed of all random choices of the method.
        image_size: side, or height and width, in pixels, multiples of the patch; None for the size of the weights.
        resize: "squash" the whole image to the size, or "crop" its centre square as open_clip does.
        preprocessing: "openai", "imagenet", "inception", or a mapping with some of mean, std and interpolation, such as
            {"interpolation": "bilinear"}; needed only for a raw weights file.
        words: name of a category of the data in prompts: "plain" for the natural name ("metal nut", "printed circuit
            board"), "released" for that of the method's released code (metal_nut, pcb1).
        domain: "object" or "texture", which selects the nouns of prompts; None looks the class up.
        states: phrases with one `{}` for the class under the keys "normal" and "anomalous"; None for the method's own.
        templates: sentences with one `{}` for the state phrase; None for the method's own.
        drawing: how maps of patches are drawn in pixels: "anoclip", "clip_ad", "musc" or "winclip" as in the released
            code of those methods, or some arguments of `dualclip_lightning.scoring.MapDrawing`, such as
            {"average": 3, "sigma": 4}.
        pre_processor: True for the preprocessing of the weights.
        post_processor: True for unchanged scores, without thresholds from labels.
        evaluator: True for image AUROC, F1max, AP and pixel AUROC, F1max, PRO, AP; use
            `dualclip_lightning.metrics.default_evaluator` for another rule for masks or other metrics.
        visualizer: True for anomalib's images; False saves their time.

    Raises:
        TypeError: the method does not have an argument.
        ValueError: an argument is out of range or unknown.
        dualclip_lightning.backbone.WeightsError: the weights are not available.
    """

    kind: Kind
    """Kind of method by what a score may depend on besides its image."""
    levers: tuple[str, ...] = ("lower image_size",)
    """Ways to save memory in this method, other than a smaller batch."""
    wording: ClassVar[str] = "anoclip"
    """Wording of the prompts (a key of `dualclip_lightning.prompts.WORDINGS`)."""
    uses_text: ClassVar[bool] = True
    """Whether the method needs text anchors; if not, any vision tower will do."""
    resize_modes: ClassVar[tuple[str, ...]] = ("squash", "crop")
    """Values of `resize`."""
    described_class: str | None = None
    """Name of the class in the current prompts."""
    references: PerImage | None = None
    """References of the images; None if every image is scored individually."""
    model: Any

    def __init__(
        self,
        *,
        backbone: str = "ViT-B-16-plus-240",
        pretrained: str = "laion400m_e32",
        class_name: str | None = None,
        seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        resize: Literal["squash", "crop"] = "squash",
        preprocessing: str | dict[str, Any] | None = None,
        words: Words = "plain",
        domain: Literal["object", "texture"] | None = None,
        states: dict[str, list[str]] | None = None,
        templates: list[str] | None = None,
        drawing: str | dict[str, Any] = "winclip",
        pre_processor: nn.Module | bool = True,
        post_processor: nn.Module | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_choice("resize", resize, self.resize_modes)
        check_components(pre_processor, post_processor, evaluator, visualizer)
        check_prompts(class_name, words, domain, states, templates)
        chosen_drawing = MapDrawing.from_choice(drawing)
        clip, prepared = prepare_backbone(backbone, pretrained, preprocessing, seed, image_size)
        if pre_processor is True:
            pre_processor = PreProcessor(transform=prepared.transform(resize))
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.backbone = clip
        self.class_name = class_name
        self.seed = seed
        self.drawing = chosen_drawing
        self.strict_loading = False  # checkpoints leave the frozen weights out
        self.register_state_dict_post_hook(drop_frozen_weights)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """Disable validation, which anomalib would run on the test set to take thresholds from its labels."""
        return {"limit_val_batches": 0, "num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """The learning type, zero-shot."""
        return LearningType.ZERO_SHOT

    def val_dataloader(self) -> list:
        """Return no batches; anomalib requests a loader because it validates before it predicts."""
        return []

    def validation_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """Score a batch as in a test, for Lightning's `Trainer.validate`; anomalib's own validation is disabled."""
        return self.test_step(batch, batch_idx)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Return CLIP's preprocessing at 240x240 or `image_size`; an instance uses that of its own weights."""
        preset = PRESETS["openai"]
        values = Preprocessing(preset["mean"], preset["std"], preset["interpolation"], image_size or (240, 240))
        return PreProcessor(transform=values.transform("squash"))

    def configure_post_processor(self) -> PostProcessor:
        """Return a post-processor that leaves scores unchanged, without normalisation or thresholds from labels."""
        return PostProcessor(enable_normalization=False, enable_thresholding=False)

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """Return the metrics of published tables (`dualclip_lightning.metrics.default_evaluator`)."""
        return default_evaluator()

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Return anomalib's callbacks; data that cannot be had are reported here, before anomalib prepares them."""
        check_available(getattr(self._trainer, "datamodule", None))
        return super().configure_callbacks()

    def setup(self, stage: str) -> None:
        """Set the text anchors of the class, and replace the data loaders by ordered ones."""
        super().setup(stage)
        check_precision(str(self.trainer.precision))
        self.set_class_name(self._chosen_words())
        if stage in {"test", "predict"} or (stage == "validate" and self.trainer.limit_val_batches):
            self._comparison().start()
            masks: MaskRule = getattr(self.evaluator, "masks", "nearest")
            order_data(self.trainer, stage, self.pre_processor, masks, self._comparison().arrange)

    def set_class_name(self, class_name: str) -> None:
        """Compute the text anchors of a class, or read them from the cache.

        Args:
            class_name: name of the class, used unchanged.

        Raises:
            ValueError: the name has no letter.
        """
        self.described_class = class_name
        chosen = {name: self.hparams[name] for name in ("domain", "states", "templates")}
        self._encode_prompts(prompt_ensemble(class_name, **chosen, wording=self.wording))

    def _chosen_words(self) -> str:
        """Return the name of the class in prompts: from the argument, else from the data, else from a checkpoint."""
        datamodule = getattr(self._trainer, "datamodule", None)  # no trainer if a checkpoint is read outside a run
        return self.class_name or self._class_words_of(datamodule) or self.described_before or "object"

    def _class_words_of(self, datamodule: Any) -> str:
        """Return the name in prompts of what the images of a datamodule show; empty if it is not known."""
        data = next((kind.__name__ for kind in type(datamodule).__mro__ if kind.__name__ in DATA_WORDS), "")
        return self._class_words(getattr(datamodule, "category", None) or "", data)

    def _class_words(self, category: str, data: str = "") -> str:
        """Return the name of a category of the data in prompts."""
        return class_words(category, self.hparams["words"], WORDINGS[self.wording].renamed, data)

    def _encode_prompts(self, prompts: PromptPair) -> None:
        """Compute the model's text anchors from prompts, if the method uses text."""
        if not self.uses_text:
            return
        mean = self.hparams.get("text_mean", "raw")
        self.model.anchors = text_anchors(self.backbone, prompts, mean=mean).to(self.device)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch; the references of each image depend on the seed and the data set."""
        del batch_idx
        with out_of_memory_advice(len(batch.image), self.levers):
            prediction = self._comparison().score(batch.image, batch_names(batch), dataloader_idx)
        return batch.update(**prediction._asdict())

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch as in `predict_step`."""
        return self.predict_step(batch, batch_idx, dataloader_idx)

    def on_test_start(self) -> None:
        """Encode the external references, if there are any."""
        super().on_test_start()
        self._encode_references()

    def on_predict_start(self) -> None:
        """Encode the external references, if there are any."""
        super().on_predict_start()
        self._encode_references()

    def on_validation_start(self) -> None:
        """Encode the external references, if there are any."""
        super().on_validation_start()
        self._encode_references()

    def _encode_references(self) -> None:
        # Use the precision of the steps, which does not apply in Lightning's hooks.
        with self.trainer.precision_plugin.forward_context():
            self._comparison().encode(self._read_images, getattr(self.trainer, "datamodule", None))

    def _read_images(self, names: Sequence[str]) -> Tensor:
        """Read images by path and preprocess them as those of the run: [R, 3, H, W]."""
        geometry, transform = geometry_of(self.pre_processor), transform_of(self.pre_processor)
        return torch.stack([transform(geometry(read_rgb(name))) for name in names]).to(self.device)

    def _comparison(self) -> PerImage:
        return self.references or PerImage(self.model)

    def on_test_end(self) -> None:
        """Write `provenance.json` next to the results."""
        super().on_test_end()
        write_provenance(self)

    def on_predict_end(self) -> None:
        """Write `provenance.json` next to the results."""
        super().on_predict_end()
        write_provenance(self)

    def provenance(self) -> dict[str, Any]:
        """Return what determines this method's scores, as plain data to store with every result."""
        return method_provenance(self, self._comparison().files)

"""What every method's Lightning shell has in common.

anomalib finds only direct subclasses of AnomalibModule by name, and would list a common base class among its models. So
a method derives from the shell and from AnomalibModule, and the shell itself does not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from anomalib import LearningType
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from dualclip_lightning.backbone import prepare_backbone
from dualclip_lightning.backbone.preprocessing import PRESETS, Preprocessing
from dualclip_lightning.images.masks import MaskRule
from dualclip_lightning.images.reading.tensors import read_rgb
from dualclip_lightning.metrics import default_evaluator, describe_evaluator
from dualclip_lightning.models.base.arguments import NamedArguments, check_components, check_prompts
from dualclip_lightning.models.base.export import ExportMixin
from dualclip_lightning.models.base.memory import out_of_memory_advice
from dualclip_lightning.models.base.results import drop_frozen_weights, link_latest, plain
from dualclip_lightning.models.references import PerImage
from dualclip_lightning.models.references.data import batch_names, geometry_of, transform_of, view_data
from dualclip_lightning.prompts import WORDINGS, PromptPair, Words, class_words, prompt_ensemble, text_anchors
from dualclip_lightning.scoring import MapDrawing
from dualclip_lightning.utilities.arguments import check_choice, check_precision
from dualclip_lightning.utilities.files import files_digest, write_bytes_atomically
from dualclip_lightning.utilities.versions import ADAPTATION, ENGINE, SCORING, versions

logger = logging.getLogger(__name__)
Kind = Literal["inductive", "pair", "transductive", "few-shot", "auxiliary", "auxiliary, transductive"]
LIBRARIES = (*SCORING, *ADAPTATION, *ENGINE)


class ZeroShotShell(NamedArguments, ExportMixin):
    """The constructor, prompts, steps and records of every method: no training, no validation, no labels.

    A method derives from this class and from AnomalibModule, declares its own arguments, passes the others on
    (`super().__init__(**common)`), and sets `model`: a module that gives an InferenceBatch for images [B, 3, H, W] and
    says in `drawing` how it draws maps. It finds the frozen CLIP in `self.backbone` and the drawing in `self.drawing`.
    Where images are compared with others, it sets `references` (`dualclip_lightning.models.references`).

    Args:
        backbone: open_clip architecture, or "hf-hub:owner/name".
        pretrained: weights tag, file or folder; "demo" is the small model of this package with its own architecture;
            "random" is for measuring time (see `dualclip_lightning.backbone.load_backbone`).
        class_name: what the images show, in words that prompts take as they are; None takes the datamodule's category,
            else "object".
        seed: draws whatever the method leaves to chance.
        image_size: side, or height and width, in pixels, multiples of the patch; None takes that of the weights.
        resize: "squash" the whole image to the size, or "crop" its centre square as open_clip does.
        preprocessing: "openai", "imagenet", "inception", or some of mean, std and interpolation by name, such as
            {"interpolation": "bilinear"}; needed for a raw weights file only.
        words: what prompts call a category of the data: "plain" for what people call it ("metal nut", "printed circuit
            board"), "released" for what the method's released code calls it (metal_nut, pcb1).
        domain: "object" or "texture", which words prompts use; None looks the class up.
        states: phrases with one `{}` for the class under the keys "normal" and "anomalous"; None for the method's own.
        templates: sentences with one `{}` for the state phrase; None for the method's own.
        drawing: how maps of patches become maps of pixels: "anoclip", "clip_ad", "musc" or "winclip" for what those
            methods' released codes do, or some of the arguments of `dualclip_lightning.scoring.MapDrawing`, such as
            {"average": 3, "sigma": 4}.
        pre_processor: True for the preprocessing of the weights.
        post_processor: True for none: scores as they are, no threshold from labels.
        evaluator: True for image AUROC, F1max, AP and pixel AUROC, F1max, PRO, AP; for another rule for masks and other
            metrics what `dualclip_lightning.metrics.default_evaluator` gives.
        visualizer: True for anomalib's pictures; False saves their time.

    Raises:
        TypeError: an argument that the method does not have.
        ValueError: an argument out of range or unknown.
        dualclip_lightning.backbone.WeightsError: weights that cannot be had.
    """

    kind: Kind
    """What a score may depend on: the image alone, its references among the test images, the whole test set, a few
    images known to be normal, or labelled auxiliary data; of two it names both."""
    levers: tuple[str, ...] = ("lower image_size",)
    """What this method needs less memory with, beside a smaller batch."""
    wording: ClassVar[str] = "anoclip"
    """Whose words the prompts use (`dualclip_lightning.prompts.WORDINGS`)."""
    resize_modes: ClassVar[tuple[str, ...]] = ("squash", "crop")
    """What `resize` may be."""
    described_class: str | None = None
    """What the prompts in use call the class."""
    references: PerImage | None = None
    """What images are compared with; None for nothing."""
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
        """No validation: anomalib would run it on the test set and take thresholds from its labels."""
        return {"limit_val_batches": 0, "num_sanity_val_steps": 0}

    @property
    def learning_type(self) -> LearningType:
        """Zero-shot."""
        return LearningType.ZERO_SHOT

    def val_dataloader(self) -> list:
        """No batches; anomalib validates before it predicts, and asks for a loader even so."""
        return []

    def validation_step(self, batch: Any, batch_idx: int) -> STEP_OUTPUT:
        """As the test step, for a validation by Lightning's Trainer; anomalib's own is switched off."""
        return self.test_step(batch, batch_idx)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """CLIP's preprocessing at 240x240, or at `image_size`; an instance has that of its own weights."""
        preset = PRESETS["openai"]
        values = Preprocessing(preset["mean"], preset["std"], preset["interpolation"], image_size or (240, 240))
        return PreProcessor(transform=values.transform("squash"))

    def configure_post_processor(self) -> PostProcessor:
        """Scores as they are: no min-max and no threshold from labels."""
        return PostProcessor(enable_normalization=False, enable_thresholding=False)

    @staticmethod
    def configure_evaluator() -> Evaluator:
        """The metrics of the field's tables (`dualclip_lightning.metrics.default_evaluator`)."""
        return default_evaluator()

    def prepare_data(self) -> None:
        """Make `latest` the link to a version that anomalib's training expects, before anything is written there."""
        super().prepare_data()
        if self.trainer.is_global_zero:
            link_latest(Path(self.trainer.default_root_dir), self.name)

    def setup(self, stage: str) -> None:
        """Text anchors of the class, and the views of the data."""
        super().setup(stage)
        check_precision(str(self.trainer.precision))
        category = getattr(getattr(self.trainer, "datamodule", None), "category", None)
        self.set_class_name(self.class_name or (self._class_words(category) if category else "object"))
        if stage in {"test", "predict"} or (stage == "validate" and self.trainer.limit_val_batches):
            self._comparison().start()
            masks: MaskRule = getattr(self.evaluator, "masks", "nearest")
            view_data(self.trainer, stage, self.pre_processor, masks, self._comparison().arrange)

    def set_class_name(self, class_name: str) -> None:
        """Compute what the method takes from the words for a class, or read it from the cache.

        Args:
            class_name: the words, which are taken as they are.

        Raises:
            ValueError: no letter in the name.
        """
        self.described_class = class_name
        chosen = {name: self.hparams[name] for name in ("domain", "states", "templates")}
        self._encode_prompts(prompt_ensemble(class_name, **chosen, wording=self.wording))

    def _class_words(self, category: str) -> str:
        """What prompts call a category of the data."""
        return class_words(category, self.hparams["words"], WORDINGS[self.wording].renamed)

    def _encode_prompts(self, prompts: PromptPair) -> None:
        """Turn prompts into the model's text anchors."""
        mean = self.hparams.get("text_mean", "raw")
        self.model.anchors = text_anchors(self.backbone, prompts, mean=mean).to(self.device)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """Score a batch; each image with the references that seed and data set give it."""
        del batch_idx
        with out_of_memory_advice(len(batch.image), self.levers):
            prediction = self._comparison().score(batch.image, batch_names(batch), dataloader_idx)
        return batch.update(**prediction._asdict())

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """As `predict_step`."""
        return self.predict_step(batch, batch_idx, dataloader_idx)

    def on_test_start(self) -> None:
        """Encode the references that come from elsewhere, if there are any."""
        super().on_test_start()
        self._encode_references()

    def on_predict_start(self) -> None:
        """As `on_test_start`."""
        super().on_predict_start()
        self._encode_references()

    def on_validation_start(self) -> None:
        """As `on_test_start`."""
        super().on_validation_start()
        self._encode_references()

    def _encode_references(self) -> None:
        # In the precision of the steps, as the images they meet; Lightning's hooks are outside it.
        with self.trainer.precision_plugin.forward_context():
            self._comparison().encode(self._read_images, getattr(self.trainer, "datamodule", None))

    def _read_images(self, names: Sequence[str]) -> Tensor:
        """Images [R, 3, H, W] by path, prepared as those of the run are."""
        geometry, transform = geometry_of(self.pre_processor), transform_of(self.pre_processor)
        return torch.stack([transform(geometry(read_rgb(name))) for name in names]).to(self.device)

    def _comparison(self) -> PerImage:
        return self.references or PerImage(self.model)

    def on_test_end(self) -> None:
        """Leave `provenance.json` beside the results."""
        super().on_test_end()
        self._write_provenance()

    def on_predict_end(self) -> None:
        """As `on_test_end`."""
        super().on_predict_end()
        self._write_provenance()

    def _write_provenance(self) -> None:
        trainer = self.trainer
        if trainer.is_global_zero:
            run = {"device": str(self.device), "devices": trainer.world_size, "precision": str(trainer.precision)}
            content = json.dumps(self.provenance() | run, indent=2)
            folder = Path(trainer.default_root_dir).resolve()
            write_bytes_atomically(folder / "provenance.json", content.encode())
            logger.info("Results: %s", folder)

    def provenance(self) -> dict[str, Any]:
        """What produced this method's scores, as plain data to store beside every result."""
        files = {f"{place}: {Path(name).name}": Path(name) for place, name in enumerate(self._comparison().files)}
        references = {"references": {"images": list(files), "sha256": files_digest(files)}} if files else {}
        return references | {
            "method": type(self).__name__,
            "kind": self.kind,
            "class_name": self.described_class,
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "weights_sha256": self.backbone.digest,
            "weights_origin": dict(self.backbone.origin),
            "transform": str(getattr(self.pre_processor, "transform", None)),
            "drawing": asdict(self.model.drawing),
            # Weights may bring their architecture; then the one that was given takes no part.
            "parameters": {key: plain(value) for key, value in self.hparams.items()} | {"backbone": self.backbone.name},
            "evaluation": describe_evaluator(self.evaluator),
            "versions": versions(*LIBRARIES),
        }

"""What every method's Lightning shell has in common.

A method is a direct subclass of AnomalibModule, because anomalib finds only those by name; so the common part is a
mixin placed before it, without a constructor of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from anomalib import LearningType
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.utils.path import create_versioned_dir
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from dualclip_lightning.arguments import check_precision
from dualclip_lightning.backbone import Backbone
from dualclip_lightning.backbone.preprocessing import PRESETS, Preprocessing, ResizeMode
from dualclip_lightning.files import files_digest, write_bytes_atomically
from dualclip_lightning.host import explain_refusals
from dualclip_lightning.metrics import default_evaluator, describe_evaluator
from dualclip_lightning.models.base.export import ExportMixin
from dualclip_lightning.models.base.memory import out_of_memory_advice
from dualclip_lightning.models.views import ViewsMixin
from dualclip_lightning.prompts import (
    WORDINGS,
    PromptPair,
    Words,
    check_words,
    class_words,
    prompt_ensemble,
    text_anchors,
)
from dualclip_lightning.prompts.ensemble import Domain
from dualclip_lightning.versions import ADAPTATION, ENGINE, SCORING, versions

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)
T = TypeVar("T")
Size = tuple[int, int]
Kind = Literal["inductive", "pair", "transductive", "few-shot", "auxiliary", "auxiliary, transductive"]
RESIZE_MODES = ("squash", "crop")
LIBRARIES = (*SCORING, *ADAPTATION, *ENGINE)

COMMON_ARGUMENTS = """
        backbone: open_clip architecture, or "hf-hub:owner/name".
        pretrained: weights tag, file or folder; "demo" is the small model of this package with its own architecture;
            "random" is for measuring time (see `dualclip_lightning.backbone.load_backbone`).
        class_name: what the images show, in words that prompts take as they are; None takes the datamodule's category,
            else "object".
        words: what prompts call a category of the data: "plain" for what people call it ("metal nut", "printed circuit
            board"), "released" for what the method's released code calls it (metal_nut, pcb1).
        seed: draws whatever the method leaves to chance.
        image_size: side, or height and width, in pixels, multiples of the patch; None takes that of the weights.
        resize: "squash" the whole image to the size, or "crop" its centre square as open_clip does.
        preprocessing: "openai", "imagenet", "inception", or some of mean, std and interpolation by name, such as
            {"interpolation": "bilinear"}; needed for a raw weights file only.
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
        visualizer: True for anomalib's pictures; False saves their time."""
TEXT_MEAN = """
        text_mean: an anchor is the mean of a state's text embeddings as they come, "raw", as in the released code of
            AnoCLIP, or of them at length 1, "unit"."""
COMMON_ERRORS = """
        ValueError: an argument out of range or unknown.
        dualclip_lightning.backbone.WeightsError: weights that cannot be had."""


def describe_common(method: type[T]) -> type[T]:
    """Class decorator: put what methods share in the place of {common}, {text_mean} and {errors} in the docstring."""
    lines = {"{common}": COMMON_ARGUMENTS, "{text_mean}": TEXT_MEAN, "{errors}": COMMON_ERRORS}
    for place, text in lines.items():
        method.__doc__ = (method.__doc__ or "").replace(f"        {place}", text.strip("\n"))
    return method


class AnchoredModel(nn.Module):
    """A method as a plain module, told what its images show by text anchors [2, D] (normal, anomalous)."""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.empty(0), persistent=False)

    def require_anchors(self) -> Tensor:
        """The text anchors.

        Raises:
            RuntimeError: there are none yet.
        """
        if not self.anchors.numel():
            msg = "The text anchors are not set. Run through anomalib's Engine, or call set_class_name(...) first."
            raise RuntimeError(msg)
        return self.anchors


class ZeroShotShell(ViewsMixin, ExportMixin):
    """Mixin: no training, no validation, no labels, no frozen weights in checkpoints.

    A subclass checks its prompts with `check_prompts` and its own arguments, calls `prepare_backbone`, then the
    constructor of AnomalibModule, then `_attach`; it sets `model`, which gives an InferenceBatch for [B, 3, H, W] and
    says in `drawing` how it draws maps.
    """

    kind: Kind
    """What a score may depend on: the image alone, its references among the test images, the whole test set, a few
    images known to be normal, or labelled auxiliary data; of two it names both."""
    levers: tuple[str, ...] = ("lower image_size",)
    """What this method needs less memory with, beside a smaller batch."""
    wording: ClassVar[str] = "anoclip"
    """Whose words the prompts use (`dualclip_lightning.prompts.WORDINGS`)."""
    described_class: str | None = None
    """What the prompts in use call the class."""
    class_name: str | None
    seed: int
    model: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """As any class; what the constructor or a run refuses is one line where anomalib's command makes it."""
        del args, kwargs
        explain_refusals()
        return super().__new__(cls)

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

    def _attach(self, backbone: Backbone, class_name: str | None, seed: int) -> None:
        """Keep the backbone beside the module: its text tower stays out of the way, its weights out of checkpoints."""
        self.backbone = backbone
        self.class_name = class_name
        self.seed = seed
        self.strict_loading = False
        self.register_state_dict_post_hook(drop_frozen_weights)

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
            self._view_data(stage)

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
        """Score a batch."""
        del batch_idx, dataloader_idx
        with out_of_memory_advice(len(batch.image), self.levers):
            return batch.update(**self.model(batch.image)._asdict())

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> STEP_OUTPUT:
        """As `predict_step`."""
        return self.predict_step(batch, batch_idx, dataloader_idx)

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
        files = {f"{place}: {Path(name).name}": Path(name) for place, name in enumerate(self._references)}
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
            "parameters": {key: _plain(value) for key, value in self.hparams.items()}
            | {"backbone": self.backbone.name},
            "evaluation": describe_evaluator(self.evaluator),
            "versions": versions(*LIBRARIES),
        }


def check_prompts(
    class_name: str | None,
    words: Words,
    domain: Domain | None,
    states: Mapping[str, Sequence[str]] | None,
    templates: Sequence[str] | None,
) -> None:
    """Refuse what cannot become prompts, before weights are loaded.

    Raises:
        ValueError: as `prompt_ensemble` and `check_words`.
    """
    check_words(words)
    prompt_ensemble(class_name or "object", domain, states, templates)


def check_components(pre_processor: Any, post_processor: Any, evaluator: Any, visualizer: Any) -> None:
    """Refuse what anomalib cannot put in the place of its parts, before weights are loaded.

    Raises:
        ValueError: neither true, false nor an object of its kind.
    """
    chosen = {
        "pre_processor": (pre_processor, nn.Module, "a module"),
        "post_processor": (post_processor, nn.Module, "a module"),
        "evaluator": (evaluator, Evaluator, "an Evaluator"),
        "visualizer": (visualizer, Visualizer, "a Visualizer"),
    }
    for name, (value, kind, called) in chosen.items():
        if not isinstance(value, bool | kind):
            msg = f"Expected {name} to be True, False or {called}, but got {value!r}."
            raise ValueError(msg)  # noqa: TRY004 - one kind of error for all arguments


def drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """State-dict hook: leave out every parameter of `module` without gradient; the constructor loads it again."""
    del metadata
    for name, parameter in module.named_parameters(remove_duplicate=False):  # two encoders may share a tower
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


def link_latest(root: Path, name: str) -> None:
    """Make the folder `latest` of anomalib's Engine a link to a new version, where it is none yet.

    The Engine tests into `latest` without making it; training replaces it by a link to a version and fails if it is a
    folder. What an earlier test left in such a folder becomes the version. A system without links keeps a plain folder.

    Args:
        root: where the results of a run go.
        name: of the model, as the Engine has it in the path; other folders called latest are left alone.
    """
    if root.name != "latest" or name not in root.parts or root.is_symlink():
        return
    with contextlib.suppress(OSError):
        before = root.rename(root.with_name("latest.before")) if root.is_dir() else None
        version = create_versioned_dir(root.parent)
        if before is not None:
            version.rmdir()
            before.rename(version)


def method_pre_processor(
    chosen: nn.Module | bool,
    preprocessing: Preprocessing,
    mode: ResizeMode,
) -> nn.Module | bool:
    """The pre-processor an argument asks for: True becomes the one of the weights."""
    return PreProcessor(transform=preprocessing.transform(mode)) if chosen is True else chosen


def _plain(value: Any) -> Any:
    """A value that JSON and YAML can hold."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

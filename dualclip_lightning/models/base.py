"""What every method's Lightning shell has in common.

A method is a direct subclass of AnomalibModule, because anomalib finds only those by name; so the common part is a
mixin placed before it, without a constructor of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anomalib import LearningType
from anomalib.metrics import Evaluator
from anomalib.models.components.base import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn

from dualclip_lightning.backbone import Backbone
from dualclip_lightning.backbone.preprocessing import PRESETS, Preprocessing, ResizeMode
from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.metrics import default_evaluator

Kind = Literal["inductive", "pair", "transductive", "auxiliary"]
LIBRARIES = ("dualclip_lightning", "anomalib", "lightning", "torch", "torchvision", "open_clip_torch", "torchmetrics")

# A mixin with AnomalibModule as its base would itself be listed as a model.
if TYPE_CHECKING:
    Base = AnomalibModule
else:
    Base = object


class ZeroShotShell(Base):
    """Mixin: no training, no validation, no labels, no frozen weights in checkpoints.

    A subclass calls `_attach_backbone` once its own constructor has run.
    """

    kind: Kind
    """What a score may depend on: the image alone, its references, the whole test set, or auxiliary data."""
    described_class: str | None = None
    """The class whose prompts are in use."""

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
        """As the test step, for those who ask Lightning to validate; anomalib's own validation is switched off."""
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

    def _attach_backbone(self, backbone: Backbone) -> None:
        """Keep the backbone beside the module: its text tower stays out of the way, its weights out of checkpoints."""
        self.backbone = backbone
        self.strict_loading = False
        self.register_state_dict_post_hook(drop_frozen_weights)

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
            write_bytes_atomically(Path(trainer.default_root_dir) / "provenance.json", content.encode())

    def provenance(self) -> dict[str, Any]:
        """What produced this method's scores, as plain data to store beside every result."""
        return {
            "method": type(self).__name__,
            "kind": self.kind,
            "class_name": self.described_class,
            "backbone": self.backbone.name,
            "weights": self.backbone.weights,
            "weights_sha256": self.backbone.digest,
            "transform": str(getattr(self.pre_processor, "transform", None)),
            "parameters": {key: _plain(value) for key, value in self.hparams.items()},
            "versions": {name: version(name) for name in LIBRARIES},
        }


def drop_frozen_weights(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """State-dict hook: leave out every parameter of `module` without gradient; the constructor loads it again."""
    del metadata
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            state.pop(prefix + name, None)


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

"""The interface between a detector and a method."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from dualclip_lightning.backbone import Backbone, Preprocessing
from dualclip_lightning.backbone.preprocessing import PreprocessingChoice
from dualclip_lightning.predict.input.geometry import Geometry
from dualclip_lightning.predict.input.reader import ViewReader
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.predict.scoring.scorer import Scorer


class Common(NamedTuple):
    """Settings that are passed to every method."""

    class_name: str
    backbone: str
    pretrained: str | None
    """Name of the weights; None for the method's default."""
    preprocessing: PreprocessingChoice
    image_size: int | tuple[int, int] | None
    seed: int
    domain: Literal["object", "texture"] | None
    states: dict[str, list[str]] | None
    templates: list[str] | None
    geometry: Geometry
    batch_size: int
    device: str
    checkpoint: str | Path | None
    """Checkpoint of the trained layers, for a method that has such layers."""
    spatial_window: float | None
    references: int | None
    """Number of references per image, for a stream or given references; None for pairs and for no references."""

    @property
    def prompts(self) -> dict[str, Any]:
        """The arguments that choose the prompts."""
        return {"domain": self.domain, "states": self.states, "templates": self.templates}


class Method(NamedTuple):
    """A method that is ready to score images."""

    name: str
    compares: bool
    """True if images are compared with others."""
    clip: Backbone
    preprocessing: Preprocessing
    device: torch.device
    reader: ViewReader
    scorer: Scorer
    drawer: Drawer
    settings: dict[str, Any]
    """The settings, besides the weights, the geometry and the references, on which its scores depend."""
    unexportable: str | None
    """The reason why scores are no function of an image and given references, with a remedy; None if they are."""

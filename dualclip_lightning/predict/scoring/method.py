"""What a detector tells a method, and what a method is to a detector."""

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
    """Settings that every method receives."""

    class_name: str
    backbone: str
    pretrained: str | None
    """None for the method's own."""
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
    """Of layers that were trained, for a method that has such."""
    spatial_window: float | None
    references: int | None
    """How many an image has of a stream or of given ones; None for pairs and for none."""

    @property
    def prompts(self) -> dict[str, Any]:
        """The choice of words."""
        return {"domain": self.domain, "states": self.states, "templates": self.templates}


class Method(NamedTuple):
    """A method that is ready to score images."""

    name: str
    compares: bool
    """Whether images are compared with others."""
    clip: Backbone
    preprocessing: Preprocessing
    device: torch.device
    reader: ViewReader
    scorer: Scorer
    drawer: Drawer
    settings: dict[str, Any]
    """What its scores depend on beside the weights, the geometry and the references."""

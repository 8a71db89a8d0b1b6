"""Answers of the service as they appear in JSON and OpenAPI."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field

from dualclip_lightning.images.reading.decoding import read_content
from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.predict.output.pictures.drawing import ENCODINGS
from dualclip_lightning.predict.output.prediction import Prediction

ColourScale = Literal["unit", "image"]
HeatmapFormat = Literal["png", "jpeg"]
SENT: Mapping[HeatmapFormat, Mapping[str, Any]] = MappingProxyType(
    {"png": {"format": "PNG", "compress_level": 1}, "jpeg": ENCODINGS["jpeg"]}
)
"""Arguments of Pillow for pictures, which are sent once and not kept, so that PNG is compressed quickly."""


class RegionFacts(BaseModel):
    """A connected region of anomalous pixels; coordinates are pixels of the upright image, x from the left."""

    box: tuple[int, int, int, int] = Field(description="x, y, width and height of the smallest rectangle around it")
    area: int = Field(description="number of pixels")
    centroid: tuple[float, float] = Field(description="mean x and y of its pixels")
    peak: float = Field(description="highest value of the map within it")
    mean: float = Field(description="mean value of the map within it")


class ScoredImage(BaseModel):
    """Score and decision of an image."""

    name: str = Field(description="name of the uploaded file")
    score: float = Field(description="from 0 to 1; higher is more anomalous")
    decision: str | None = Field(description="anomalous, normal, or null without a threshold that fits the image")
    threshold: float | None = Field(description="score above which an image is anomalous")
    p_value: float | None = Field(description="estimated share of normal images that score at least as high")
    reason: str = Field(description="why there is no decision, or a note on it")
    height: int = Field(description="of the upright image, in pixels")
    width: int = Field(description="of the upright image, in pixels")
    regions: list[RegionFacts] | None = Field(description="highest peak first; null without a decision")
    references: int = Field(description="number of images that it was compared with")
    notes: list[str] = Field(description="how the image was converted on reading")
    heatmap: str | None = Field(None, description="in base64: the image, its map, the regions and a colour bar")


class UnusableImage(BaseModel):
    """An uploaded file that could not be scored."""

    name: str = Field(description="name of the uploaded file")
    error: str = Field(description="the reason in one sentence")


class Results(BaseModel):
    """Results of a request, in the order of its files."""

    results: list[ScoredImage | UnusableImage]


class Problem(BaseModel):
    """The reason why a request was refused, in one sentence."""

    detail: str


class NoResults(Problem):
    """Same for a request without usable images, with the reason for each."""

    results: list[UnusableImage] | None = None


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok", "stopped"]
    version: str
    waiting: int = Field(description="number of images in the queue")


class DetectorFacts(BaseModel):
    """The detector of the service."""

    class_name: str
    method: str
    backbone: str
    weights: str
    references: int = Field(description="number of images that every image is compared with")
    threshold: float | None
    threshold_origin: str = Field(description="where the threshold comes from, and the rates that it states")
    max_images: int = Field(description="largest number of images in a request")
    max_megabytes: float = Field(description="largest size of a request")
    max_megapixels: float = Field(description="largest image")


def describe(
    name: str, content: bytes, outcome: Outcome, heatmap: HeatmapFormat | None, scale: ColourScale
) -> ScoredImage | UnusableImage:
    """Return the answer for one image; regions and heatmap are drawn here, at the size of the image.

    Args:
        name: name that the client gave the file.
        content: content of the file.
        outcome: prediction or failure.
        heatmap: format of the heatmap; None draws none.
        scale: "unit" for colours from 0 to 1, which are comparable, or "image" for the range of the image's own map.
    """
    if not isinstance(outcome, Prediction):
        return UnusableImage(name=name, error=f"Cannot use this image: {outcome.reason}")
    regions = outcome.regions
    return ScoredImage(
        name=name,
        score=outcome.score,
        decision=outcome.decision,
        threshold=None if outcome.threshold is None else outcome.threshold.score,
        p_value=outcome.p_value,
        reason=outcome.reason,
        height=outcome.size[0],
        width=outcome.size[1],
        regions=None if regions is None else [RegionFacts(**region.to_dict()) for region in regions],
        references=len(outcome.references),
        notes=list(outcome.notes),
        heatmap=None if heatmap is None else _heatmap(outcome, content, heatmap, scale),
    )


def _heatmap(prediction: Prediction, content: bytes, encoding: HeatmapFormat, scale: ColourScale) -> str:
    pixels = read_content(content, float("inf")).pixels  # it was within the limit when it was scored
    picture = prediction.heatmap(pixels, (0.0, 1.0) if scale == "unit" else None)
    buffer = io.BytesIO()
    picture.save(buffer, **SENT[encoding])
    return base64.b64encode(buffer.getvalue()).decode()

"""Paths of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from dualclip_lightning import __version__
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.serving.answers import (
    ColourScale,
    DetectorFacts,
    Health,
    HeatmapFormat,
    NoResults,
    Problem,
    Results,
    ScoredImage,
    UnusableImage,
    describe,
)
from dualclip_lightning.serving.batching import BatchScorer, QueueClosedError, QueueFullError
from dualclip_lightning.serving.guards import retry_after
from dualclip_lightning.serving.limits import MEGA, Limits
from dualclip_lightning.serving.metrics import ServiceMetrics
from dualclip_lightning.utilities.memory import is_out_of_memory

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The token is missing or wrong."},
    408: {"model": Problem, "description": "The request was sent too slowly."},
    413: {"model": Problem, "description": "The request is too large or has too many images."},
    422: {"model": NoResults, "description": "The request has no images, or none of them can be used."},
    429: {"model": Problem, "description": "The queue is full; Retry-After says when to try again."},
    500: {"model": Problem, "description": "An image could not be scored."},
    503: {"model": Problem, "description": "The images were not scored in time, or the service stops."},
}


@dataclass
class Service:
    """What the paths share."""

    detector: Detector
    limits: Limits
    scorer: BatchScorer
    metrics: ServiceMetrics
    drawing: anyio.CapacityLimiter
    """Number of images that are drawn at once, each of which takes memory."""


# It only documents the token, which `RequireToken` checks before the body is read.
router = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False, description="only if the service has a token"))])
open_router = APIRouter()


def service_of(request: Request) -> Service:
    """Return the service that a request goes to."""
    return request.app.state.service


@router.post("/predict", responses=PROBLEMS)
async def predict(
    service: Annotated[Service, Depends(service_of)],
    images: Annotated[list[UploadFile], File(description="one or several image files")],
    heatmap: Annotated[bool, Query(description="whether to draw heatmaps")] = False,
    scale: Annotated[ColourScale, Query(description="heatmap colours from 0 to 1, or over the image's range")] = "unit",
    heatmap_format: Annotated[
        HeatmapFormat, Query(description="PNG keeps every value, JPEG is smaller for photographs")
    ] = "png",
) -> Results:
    """Score images. Files that cannot be used get a sentence instead of a score, and do not affect the others."""
    limits, drawn = service.limits, heatmap_format if heatmap else None
    if len(images) > limits.images:
        raise HTTPException(413, f"The request has {len(images)} images, but at most {limits.images} are allowed.")
    names = [image.filename or "image" for image in images]
    contents = [await image.read() for image in images]
    try:
        found = await asyncio.wait_for(_answers(service, names, contents, drawn, scale), limits.seconds)
    except asyncio.TimeoutError:
        text = f"The images were not scored within {limits.seconds:g} seconds. Send them again later."
        raise HTTPException(503, text, retry_after(service.scorer.delay)) from None
    if not any(isinstance(each, ScoredImage) for each in found):
        text = "The image cannot be used." if len(found) == 1 else "None of the images can be used."
        content = {"detail": text, "results": [each.model_dump() for each in found]}
        return JSONResponse(content, 422)  # type: ignore[return-value]
    return Results(results=found)


async def _answers(
    service: Service, names: Sequence[str], contents: Sequence[bytes], heatmap: HeatmapFormat | None, scale: ColourScale
) -> list[ScoredImage | UnusableImage]:
    outcomes = await _outcomes(service, contents)
    found = []
    for name, content, outcome in zip(names, contents, outcomes, strict=True):
        service.metrics.observe_image(outcome)
        # With a limiter of its own, so that uploads are still read while images are drawn.
        found.append(
            await to_thread.run_sync(describe, name, content, outcome, heatmap, scale, limiter=service.drawing)
        )
    return found


async def _outcomes(service: Service, contents: Sequence[bytes]) -> list[Outcome]:
    """Score images.

    Raises:
        HTTPException: If the queue is full, the service stops or an image cannot be scored.
    """
    try:
        futures = service.scorer.submit(contents)
        return await asyncio.gather(*map(asyncio.wrap_future, futures))
    except QueueFullError:
        text = f"The queue of {service.limits.waiting} images is full. Send the request again later."
        raise HTTPException(429, text, retry_after(service.scorer.delay)) from None
    except QueueClosedError:
        raise HTTPException(503, "The service stops. Send the request again when it runs.") from None
    except Exception as error:
        if is_out_of_memory(error):
            text = "The image does not fit in memory. Send a smaller one, or lower --batch-size of the service."
            raise HTTPException(503, text) from error
        raise HTTPException(500, "The image could not be scored. The log of the service has the reason.") from error


@router.get("/detector", responses={401: PROBLEMS[401]})
def detector(service: Annotated[Service, Depends(service_of)]) -> DetectorFacts:
    """Describe the detector and the limits of requests."""
    settings, threshold = service.detector.settings, service.detector.threshold
    return DetectorFacts(
        class_name=settings["class_name"],
        method=settings["method"],
        backbone=settings["backbone"],
        weights=settings["weights"],
        references=settings["num_references"],
        threshold=None if threshold is None else threshold.score,
        threshold_origin="" if threshold is None else threshold.describe(),
        max_images=service.limits.images,
        max_megabytes=service.limits.body / MEGA,
        max_megapixels=service.detector.max_megapixels,
    )


@router.get("/metrics", response_class=Response, responses={401: PROBLEMS[401]})
def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@open_router.get("/health", responses={503: {"model": Health, "description": "Nothing is scored."}})
def health(service: Annotated[Service, Depends(service_of)], response: Response) -> Health:
    """Say whether images are scored."""
    alive = service.scorer.alive
    response.status_code = 200 if alive else 503
    return Health(status="ok" if alive else "stopped", version=__version__, waiting=service.scorer.waiting)

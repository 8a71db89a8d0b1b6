"""The application: paths, page, limits and token around one detector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse

from dualclip_lightning import __version__
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.serving.batching import BatchScorer
from dualclip_lightning.serving.guards import CheckHost, LimitBodies, RequireToken
from dualclip_lightning.serving.limits import Limits
from dualclip_lightning.serving.metrics import CountRequests, ServiceMetrics
from dualclip_lightning.serving.routes import Service, open_router, router
from dualclip_lightning.utilities.memory import is_out_of_memory

PAGE = Path(__file__).parent / "page"
FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
DRAWN_AT_ONCE = 2
RUN_DEPENDENT = (
    "The service needs a detector whose scores do not depend on other images of a request: use references of its own "
    "(--reference-dir, or a bundle of 'dualclip calibrate') or text alone, but not pairs or a stream."
)


def create_app(
    detector: Detector,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """Return the application for an ASGI server, with its own thread for scoring while it runs.

    Args:
        detector: detector with references of its own or text alone.
        limits: limits of requests and of the queue.
        token: token that requests need; None for none.
        hosts: names and addresses under which the service answers, in lower case; None for any.

    Raises:
        ValueError: If the references of an image are other images of its request.
    """
    check_independent(detector.mode)
    metrics = ServiceMetrics()
    scorer = BatchScorer(detector, limits.waiting, metrics.observe_batch)
    metrics.waiting.set_function(lambda: scorer.waiting)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        with scorer:
            yield

    # The pages of FastAPI for its documentation load scripts from the network.
    app = FastAPI(title="dualclip", version=__version__, lifespan=running, docs_url=None, redoc_url=None)
    app.state.service = Service(detector, limits, scorer, metrics, anyio.CapacityLimiter(DRAWN_AT_ONCE))
    app.include_router(router)
    app.include_router(open_router)
    for path, name in FILES.items():
        app.add_api_route(path, _sender(PAGE / name), include_in_schema=False)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    known = {*FILES, "/predict", "/detector", "/metrics", "/health", "/openapi.json"}
    # The last one added is the first that a request meets.
    app.add_middleware(LimitBodies, limits=limits, delay=lambda: scorer.delay)
    if token is not None:
        app.add_middleware(RequireToken, token=token, most=limits.body)
    if hosts is not None:
        app.add_middleware(CheckHost, hosts=hosts, most=limits.body)
    app.add_middleware(CountRequests, metrics=metrics, is_known=known.__contains__)
    return app


def check_independent(mode: str) -> None:
    """Check the kind of references of a detector.

    Raises:
        ValueError: If the references of an image are other images of its request or earlier ones.
    """
    if mode in {"pairs", "stream"}:
        raise ValueError(RUN_DEPENDENT)


def _sender(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(path)

    return send


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer an invalid request with one sentence about its first fault."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place, name = first["loc"][0], first["loc"][1] if len(first["loc"]) > 1 else ""
    if place == "body":
        text = "Expected one or several image files in the form field 'images'."
    else:
        text = f"Cannot use the {place} parameter '{name}': {first['msg'].rstrip('.')}."
    return JSONResponse({"detail": text}, 422)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that an unexpected error ended; the server logs the error."""
    if is_out_of_memory(error):
        return JSONResponse({"detail": "The images do not fit in memory. Send smaller ones."}, 503)
    return JSONResponse({"detail": "The request failed. The log of the service has the reason."}, 500)

"""Metrics of the service for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from dualclip_lightning.predict.judge import Outcome
from dualclip_lightning.predict.output.prediction import Prediction

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64)
OTHER = "other"
"""Label of all unknown paths, whose number is not limited."""


class ServiceMetrics:
    """Counters of one service, in a registry of their own, and those of the process (memory, CPU time, files)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "dualclip_requests", "Answered requests.", ["path", "status"], registry=self.registry
        )  # fmt: skip
        self.latency = Histogram(
            "dualclip_request_seconds", "Seconds until a request to /predict was answered.", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.images = Counter("dualclip_images", "Images by result.", ["result"], registry=self.registry)
        self.batches = Histogram(
            "dualclip_batch_images", "Images scored together.", buckets=SIZES, registry=self.registry
        )
        self.scoring = Histogram(
            "dualclip_batch_seconds", "Seconds of scoring a batch.", buckets=SECONDS, registry=self.registry
        )
        self.waiting = Gauge("dualclip_waiting_images", "Images in the queue.", registry=self.registry)

    def observe_batch(self, images: int, seconds: float) -> None:
        """Count a batch that was scored."""
        self.batches.observe(images)
        self.scoring.observe(seconds)

    def observe_image(self, outcome: Outcome) -> None:
        """Count an image by its decision, "undecided", or "unusable"."""
        decision = outcome.decision or "undecided" if isinstance(outcome, Prediction) else "unusable"
        self.images.labels(decision).inc()

    def exposition(self) -> bytes:
        """Return all values in the text format of Prometheus."""
        return generate_latest(self.registry)


class CountRequests:
    """ASGI middleware that counts answers by path and status, and measures those of /predict."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, is_known: Callable[[str], bool]) -> None:
        self.app = app
        self._metrics = metrics
        self._is_known = is_known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and observe its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, path = time.perf_counter(), scope["path"]

        def observe(status: int) -> None:
            self._metrics.requests.labels(path if self._is_known(path) else OTHER, str(status)).inc()
            if path == "/predict":
                self._metrics.latency.observe(time.perf_counter() - start)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                observe(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception:
            observe(500)  # answered by the outermost middleware
            raise

"""ASGI middleware that refuses requests before their body takes memory: host, token, and the limits of bodies."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from dualclip_lightning.serving.limits import MEGA, Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = frozenset({"/", "/page.css", "/page.js", "/health", "/openapi.json"})
"""Paths that need no token and have any host; they tell nothing about images or the detector."""
LEAST_CHARGE = 64 * 1024
"""Bytes that a request with a body counts for at least, so that the number of requests is limited, too."""
DRAINED = 4
"""Multiple of the largest body up to which a refused body is read, since many clients read no answer before that."""
DRAIN_SECONDS = 10.0


class CheckHost:
    """Answer 400 to requests under another name than those of the service, except for the paths in `OPEN`.

    A web page that any browser on this machine has open can let its own name point to a loopback address, and so read
    a service that asks for no token (DNS rebinding). Such requests carry the name of that page in the header Host.

    Args:
        app: the application.
        hosts: names and addresses of the service, in lower case and without ports or brackets.
        most: largest body in bytes.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], most: int) -> None:
        self.app = app
        self._hosts = frozenset(hosts)
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN or requested_host(scope) in self._hosts:
            await self.app(scope, receive, send)
            return
        text = "This service does not answer under this name. Start it with --allow-host NAME."
        await refuse(scope, receive, send, 400, text, self._most)


class RequireToken:
    """Answer 401 to requests without the token, except for the paths in `OPEN`."""

    def __init__(self, app: ASGIApp, token: str, most: int) -> None:
        self.app = app
        self._expected = f"Bearer {token}".encode()
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN or self._fits(scope):
            await self.app(scope, receive, send)
            return
        text = "This service needs its token: send the header 'Authorization: Bearer TOKEN'."
        await refuse(scope, receive, send, 401, text, self._most, {"WWW-Authenticate": "Bearer"})

    def _fits(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._expected)


class LimitBodies:
    """Answer 413 to bodies that are too large, 408 to those that are sent too slowly, 429 if too many bytes are held.

    Args:
        app: the application.
        limits: limits of the service.
        delay: function that returns the seconds after which a refused client may try again.
    """

    def __init__(self, app: ASGIApp, limits: Limits, delay: Callable[[], float]) -> None:
        self.app = app
        self._limits = limits
        self._delay = delay
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a limited body, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limits, size = self._limits, declared_size(scope)
        if size is not None and size > limits.body:
            await refuse(scope, receive, send, 413, too_large(limits), limits.body)
            return
        charge = 0 if size == 0 else max(limits.body if size is None else size, LEAST_CHARGE)
        if self._held + charge > max(limits.held, LEAST_CHARGE):
            text = "Too many uploads are being processed. Send the request again later."
            await refuse(scope, receive, send, 429, text, limits.body, retry_after(self._delay()))
            return
        self._held += charge
        try:
            await self.app(scope, _limited(receive, limits), send)
        finally:
            self._held -= charge


def requested_host(scope: Scope) -> str | None:
    """Return the host that a request names, in lower case and without port or brackets; None if it names none."""
    try:
        return urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname
    except ValueError:  # an invalid IPv6 address
        return None


def declared_size(scope: Scope) -> int | None:
    """Return the size of the body in bytes by its headers; None if it is sent in chunks of unknown number."""
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    if length.isdecimal():
        return int(length)
    return None if "transfer-encoding" in headers else 0


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header that tells a client when to try again, in whole seconds."""
    return {"Retry-After": str(max(1, round(seconds + 0.5)))}


def too_large(limits: Limits) -> str:
    """Return the sentence for a body above the limit."""
    return f"The request is larger than {limits.body / MEGA:g} MB. Send fewer or smaller images."


def _limited(receive: Receive, limits: Limits) -> Receive:
    """Return a function that receives a body up to its largest size and within its time."""
    size, complete, end = 0, False, time.monotonic() + limits.seconds

    async def limited() -> Message:
        nonlocal size, complete
        if complete:  # what follows is that the client leaves, at any time
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), end - time.monotonic())
        except asyncio.TimeoutError:
            raise HTTPException(408, f"The request did not arrive within {limits.seconds:g} seconds.") from None
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > limits.body:
            if not complete:
                await _drain(receive, limits.body)
            raise HTTPException(413, too_large(limits))
        return message

    return limited


async def refuse(
    scope: Scope, receive: Receive, send: Send, status: int, text: str, most: int, headers: dict[str, str] | None = None
) -> None:
    """Answer with a sentence, after the body was read and dropped up to a multiple of `most` bytes."""
    if declared_size(scope) != 0 and "expect" not in Headers(scope=scope):  # who expects 100 has not sent it yet
        await _drain(receive, most)
    await JSONResponse({"detail": text}, status, headers)(scope, receive, send)


async def _drain(receive: Receive, most: int) -> None:
    async def read() -> None:
        size = 0
        while size <= DRAINED * most:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), DRAIN_SECONDS)

"""The command `dualclip serve`: loads the detector and runs the server until it is stopped."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from rich.console import Console

from dualclip_lightning.backbone import WeightsError
from dualclip_lightning.commandline.parser import WRONG
from dualclip_lightning.predict.command import detector_arguments
from dualclip_lightning.predict.decisions import stated_threshold
from dualclip_lightning.predict.detector import Detector
from dualclip_lightning.predict.shards.worker import make_detector
from dualclip_lightning.serving.app import check_independent, create_app


def run(options: Namespace) -> int:
    """Serve with the options of `options.parse` until a signal stops the server, and return the exit status.

    0: it was stopped. 2: the detector cannot be made or the address cannot be used.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # problems of a file are in the answer
    try:
        address = bind(options.host, options.port)
        detector = build(options)
    except (ValueError, FileNotFoundError, WeightsError, OSError) as error:
        errors.print(f"dualclip: {error}", markup=False)
        return WRONG
    app = create_app(detector, options.limits, options.token, options.hosts)
    config = uvicorn.Config(
        app, log_level="info" if options.verbose else "warning", access_log=options.verbose, lifespan="on",
        timeout_graceful_shutdown=round(options.limits.seconds) + 1, server_header=False,
    )  # fmt: skip
    with address, _stopped_by_signals():
        AnnouncedServer(config, options.host, detector).run(sockets=[address])
    print("Stopped.", flush=True)
    return 0


def build(options: Namespace) -> Detector:
    """Return the detector of the options.

    Raises:
        Exception: Same as `Detector` or `Detector.load`, or ValueError if its references depend on a request.
    """
    detector = make_detector(detector_arguments(options))
    check_independent(detector.mode)
    detector.threshold = stated_threshold(options, detector)
    return detector


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that holds an address; connections are refused until the server listens.

    Raises:
        ValueError: If the address cannot be used; the message names the remedy.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except OSError as error:
        msg = f"Cannot listen on {host}, port {port} ({error.strerror or error}). Choose another --host or --port."
        raise ValueError(msg) from error
    return bound


class AnnouncedServer(uvicorn.Server):
    """Server that prints its address once it accepts connections."""

    def __init__(self, config: uvicorn.Config, host: str, detector: Detector) -> None:
        super().__init__(config)
        self._host = host
        self._detector = detector

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        if sockets and not self.should_exit:
            host = f"[{self._host}]" if ":" in self._host else self._host
            print(f"{self._detector!r}: http://{host}:{sockets[0].getsockname()[1]}/", flush=True)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let the server end normally after Ctrl-C or SIGTERM, which it raises again once all requests are answered."""

    def note(number: int, frame: Any) -> None:
        del frame
        logging.getLogger(__name__).info("Stopped by %s.", signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

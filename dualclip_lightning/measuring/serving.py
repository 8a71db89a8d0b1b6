"""Throughput and latency of `dualclip serve` on this machine, for 1, 8 and 64 clients.

    python -m dualclip_lightning.measuring.serving
    python -m dualclip_lightning.measuring.serving --clients 1 4 --requests 50 --serve --bundle plate.dualclip

The program starts the service in a process of its own, on a free port of the loopback address. Every client sends one
image at a time, and the next one when it has its answer. The images are random, of one size, and differ. What follows
`--serve` goes to the service; without it, the embedded demo model scores by text alone.
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import islice
from queue import SimpleQueue
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from PIL import Image

from dualclip_lightning.commandline.console import show_what_it_can

BOUNDARY = "dualclip-measuring"
DEMO = ("--pretrained", "demo")
OK = "200"


class Answered(NamedTuple):
    """One request."""

    status: str
    """Status of the answer, or the name of the error without one."""
    seconds: float


@contextmanager
def running(arguments: Sequence[str]) -> Iterator[str]:
    """Run a service with these arguments until the context is left, and yield its address.

    Raises:
        RuntimeError: If it does not start; its errors are on standard error.
    """
    command = [sys.executable, "-m", "dualclip_lightning", "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - the own interpreter
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://\S+", line)
            if found is None:
                msg = "The service did not start."
                raise RuntimeError(msg)
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)


def measure(address: str, clients: int, bodies: Sequence[bytes]) -> pd.Series:
    """Send one request for each body from this many clients at once, and return the summary."""
    todo: SimpleQueue[bytes | None] = SimpleQueue()
    for body in [*bodies, *[None] * clients]:
        todo.put(body)
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = [each for found in pool.map(lambda _: _client(address, todo), range(clients)) for each in found]
    return summarise(clients, answers, time.perf_counter() - start)


def summarise(clients: int, answers: Sequence[Answered], seconds: float) -> pd.Series:
    """Return images per second, quantiles of the latency in milliseconds, and the number of other answers than 200."""
    good = [1000 * each.seconds for each in answers if each.status == OK]
    quantiles = np.quantile(good, (0.5, 0.95, 0.99)) if good else [np.nan] * 3
    others = Counter(each.status for each in answers if each.status != OK)
    return pd.Series(
        {
            "clients": clients,
            "requests": len(answers),
            "images/s": round(len(good) / seconds, 2),
            **dict(zip(("p50 ms", "p95 ms", "p99 ms"), np.round(quantiles), strict=True)),
            "errors": ", ".join(f"{count} x {status}" for status, count in sorted(others.items())) or "0",
        },
        dtype=object,
    )


def _client(address: str, todo: SimpleQueue[bytes | None]) -> list[Answered]:
    parts, found = urlsplit(address), []
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=300)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while (body := todo.get()) is not None:
        start = time.perf_counter()
        try:
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            answer.read()
            status = str(answer.status)
        except (OSError, HTTPException) as error:
            connection.close()
            status = type(error).__name__
        found.append(Answered(status, time.perf_counter() - start))
    connection.close()
    return found


def request_bodies(side: int) -> Iterator[bytes]:
    """Yield bodies of requests, each with one random JPEG of this side in pixels."""
    generator = np.random.default_rng(0)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="image.jpg"\r\n\r\n'
    while True:
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((side, side)).save(buffer, "JPEG", quality=90)
        yield head.encode() + buffer.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--requests", type=int, default=200, help="for each number of clients")
    parser.add_argument("--side", type=int, default=300, help="of the images in pixels")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=DEMO, help="all that follows goes to the service")
    options = parser.parse_args(arguments)
    bodies = list(islice(request_bodies(options.side), options.requests))
    with running(options.serve) as address:
        measure(address, 1, bodies[:8])  # warm-up
        table = pd.DataFrame([measure(address, clients, bodies) for clients in options.clients])
    print(table.to_string(index=False))


if __name__ == "__main__":
    show_what_it_can()
    main()

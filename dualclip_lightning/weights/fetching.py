"""Files of weights from the hub or a URL, from the caches of open_clip and the hub, or downloaded once.

A missing network is reported within seconds. The hub's client would try every file six times, up to 23 seconds each,
and a name server that does not answer has no time limit by default.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.request import urlopen

import huggingface_hub
import torch
from huggingface_hub.utils import EntryNotFoundError

from dualclip_lightning.utilities.cachedir import home
from dualclip_lightning.utilities.files import file_digest
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.sources import WeightsSource

T = TypeVar("T")
ANSWER_SECONDS = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or 4)
"""Seconds after which a download from a host that does not answer is abandoned."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """Local file with its origin."""

    path: Path
    origin: dict[str, str]
    """`repository`, `file` and `revision`, or `url`."""


def fetch(source: WeightsSource) -> Fetched:
    """Return the file of a source, from the cache if possible.

    Raises:
        WeightsError: it cannot be downloaded; the message names the file and its location.
    """
    found = find(source)
    if found is not None:
        return found
    try:
        _download_url(source) if source.url else _download_from_hub(source)
    except Exception as error:  # the hub, its HTTP client, urllib and torch raise many types; all mean the same here
        msg = f"Cannot fetch {source} ({first_line(error)})."
        raise WeightsError(msg) from error
    found = find(source)
    if found is None:  # a mirror may list a file without serving it
        msg = f"Cannot fetch {source} (it was downloaded, but is not in the cache)."
        raise WeightsError(msg)
    return found


def find(source: WeightsSource) -> Fetched | None:
    """Return the file of a source if it is in the cache and complete, else None."""
    if source.url:
        path = url_path(source)
        return Fetched(path, {"url": source.url}) if path.is_file() and _is_whole(path, source) else None
    for name in source.files:
        cached = huggingface_hub.try_to_load_from_cache(str(source.repository), name)
        if isinstance(cached, str):  # otherwise missing, or known to be missing from the repository
            revision = Path(cached).parents[len(PurePosixPath(name).parts) - 1].name
            origin = {"repository": str(source.repository), "file": name, "revision": revision}
            return Fetched(Path(cached), origin)
    return None


def url_path(source: WeightsSource) -> Path:
    """Return the path at which open_clip stores the file of a URL."""
    return home() / ".cache" / "clip" / source.file_name


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of `call` if it returns in time.

    A name look-up cannot have a time limit, so the call runs in its own thread, which is abandoned if it hangs.

    Raises:
        TimeoutError: the call did not return in time.
    """
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001  # raised again in the waiting thread
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except FutureTimeoutError as error:
        msg = f"no answer within {seconds:g} seconds"
        raise TimeoutError(msg) from error


def first_line(error: Exception) -> str:
    """Format an error as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no further message'}"


def _is_whole(path: Path, source: WeightsSource) -> bool:
    """Return whether a file has the SHA-256 in its URL; a URL without one is trusted."""
    if source.digest is None or file_digest(path).startswith(source.digest):
        return True
    logger.warning("%s does not have the SHA-256 that its name states, and is fetched again.", path)
    return False


def _download_url(source: WeightsSource) -> None:
    path, url = url_path(source), str(source.url)
    within(ANSWER_SECONDS, lambda: urlopen(url, timeout=ANSWER_SECONDS).close())  # noqa: S310  # of open_clip's table
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(path), hash_prefix=source.digest)


def _download_from_hub(source: WeightsSource) -> None:
    """Download the first of the files that the repository contains."""
    repository = str(source.repository)
    name = next((name for name in source.files if _hub_has(repository, name)), None)
    if name is None:
        msg = "the repository has no such file"
        raise FileNotFoundError(msg)
    huggingface_hub.hf_hub_download(repository, name)


def _hub_has(repository: str, name: str) -> bool:
    try:
        within(ANSWER_SECONDS, lambda: _ask_hub(repository, name))
    except EntryNotFoundError:
        return False
    return True


def _ask_hub(repository: str, name: str) -> None:
    address = huggingface_hub.hf_hub_url(repository, name)
    huggingface_hub.get_hf_file_metadata(address, timeout=ANSWER_SECONDS)

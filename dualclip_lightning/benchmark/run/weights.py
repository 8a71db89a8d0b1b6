"""Weights that methods download, found by building the methods without a network."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple
from unittest import mock

import torch
from huggingface_hub import constants

from dualclip_lightning.weights.fetching import url_path
from dualclip_lightning.weights.sources import WeightsSource


class Download(NamedTuple):
    """A file that is not on this machine."""

    file: str
    """Repository on the Hugging Face hub, or address."""
    cache: str
    """Folder in which a copy would be found."""


class NoNetworkError(OSError):
    """A connection was asked for while methods were built without a network."""


def built_offline(build: Callable[[], Any]) -> tuple[Any, Exception | None, list[Download]]:
    """Build a method without a network.

    Returns:
        The method or None, the error or None, and what it tried to download.
    """
    asked: list[Download] = []
    try:
        with _no_network(asked):
            return build(), None, asked
    except Exception as error:  # noqa: BLE001  # the caller distinguishes errors
        stacks = ([frame for frame, _ in traceback.walk_tb(each.__traceback__)] for each in _chain(error))
        return None, error, asked or [found for found in map(_download, stacks) if found is not None]


@contextmanager
def _no_network(asked: list[Download]) -> Iterator[None]:
    """Context in which this thread resolves no address; what asked for one is noted.

    Every client in Python, such as those of torch.hub and urllib, resolves addresses through this function, also those
    of proxies. The hub's client would try again for a minute, but has a mode of its own for the cache only.
    """
    resolve, here = socket.getaddrinfo, threading.get_ident()

    def refuse(host: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != here:
            return resolve(host, *args, **kwargs)
        found = _download([frame for frame, _ in traceback.walk_stack(None)][::-1])
        asked.append(found or Download(f"a file of {host}", "its cache"))
        msg = f"No connection to {host} while methods are checked."
        raise NoNetworkError(msg)

    with mock.patch.object(socket, "getaddrinfo", refuse), mock.patch.object(constants, "HF_HUB_OFFLINE", True):
        yield


def _download(frames: Iterable[FrameType]) -> Download | None:
    """Return what the outermost function of a known library was about to download, by the arguments of its call."""
    found = (_ASKED[frame.f_code.co_name](frame.f_locals) for frame in frames if frame.f_code.co_name in _ASKED)
    return next((each for each in found if each is not None), None)


def _of_hub(call: Mapping[str, Any]) -> Download | None:
    repository = call.get("repo_id")  # a library may try several files of it
    cache = str(call.get("cache_dir") or constants.HF_HUB_CACHE)
    return None if repository is None else Download(f"{repository} of the Hugging Face hub", cache)


def _of_torch(call: Mapping[str, Any]) -> Download | None:
    return Download(call["url"], torch.hub.get_dir()) if isinstance(call.get("url"), str) else None


def _of_anomalib(call: Mapping[str, Any]) -> Download | None:
    url = getattr(call.get("info"), "url", None)
    return None if url is None else Download(url, str(call.get("root")))


def _of_this_package(call: Mapping[str, Any]) -> Download | None:
    source = call.get("source")
    if not isinstance(source, WeightsSource):
        return None
    return Download(str(source), str(url_path(source).parent) if source.url else constants.HF_HUB_CACHE)


_ASKED: Mapping[str, Callable[[Mapping[str, Any]], Download | None]] = {
    "hf_hub_download": _of_hub,
    "download_url_to_file": _of_torch,
    "download_and_extract": _of_anomalib,
    "fetch": _of_this_package,
}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""Runs without messages of libraries, for commands that print a table."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOUD = False
"""True if `quiet` has no effect."""


@contextmanager
def loud() -> Iterator[None]:
    """Context in which `quiet` has no effect, at the user's request."""
    global _LOUD  # noqa: PLW0603 - logging is global to the process, too
    before, _LOUD = _LOUD, True
    try:
        yield
    finally:
        _LOUD = before


@contextmanager
def quiet() -> Iterator[None]:
    """Context without warnings and log records up to WARNING, of which Lightning and anomalib emit many per run."""
    if _LOUD:
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))  # keep a higher level
        try:
            yield
        finally:
            logging.disable(before)

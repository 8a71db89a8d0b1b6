"""Runs that leave the screen to a table."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOUD = False
"""Whether `quiet` changes nothing."""


@contextmanager
def loud() -> Iterator[None]:
    """Let libraries speak where they would be silenced, because the user asked for it."""
    global _LOUD  # noqa: PLW0603 - what is silenced is the process's, too
    before, _LOUD = _LOUD, True
    try:
        yield
    finally:
        _LOUD = before


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no log records up to warnings: Lightning and anomalib say much about each of many runs."""
    if _LOUD:
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))  # who silenced more keeps it
        try:
            yield
        finally:
            logging.disable(before)

"""Runs that leave the screen to a table."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no log records up to warnings: Lightning and anomalib say much about each of many runs."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))  # who silenced more keeps it
        try:
            yield
        finally:
            logging.disable(before)

"""Consoles, exit statuses and answers to errors of the commands that score images."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dualclip_lightning.backbone import WeightsError
from dualclip_lightning.predict.shards.worker import DeviceError
from dualclip_lightning.utilities.files import cannot_write
from dualclip_lightning.utilities.memory import is_out_of_memory
from dualclip_lightning.utilities.ray_cluster import ClusterError

DONE, SOME_FAILED, WRONG, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses."""


def consoles(options: Namespace) -> tuple[Console, Console, Console]:
    """Return the consoles for results, errors and notes, and silence warnings of image files, which are listed."""
    console, errors = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # problems of a file are listed in failures.csv
    return console, errors, Console(quiet=True) if options.quiet else errors


@dataclass
class Ended:
    """Exit status of a command."""

    status: int = DONE


@contextmanager
def answering_errors(errors: Console, options: Namespace) -> Iterator[Ended]:
    """Answer expected errors of a command with a sentence and an exit status, as the commands describe.

    Args:
        errors: console for the sentence.
        options: options of the command; `out` is the folder of the results.
    """
    ended = Ended()
    try:
        yield ended
    except (ValueError, FileNotFoundError, WeightsError, ClusterError) as error:
        ended.status = _say(errors, str(error), WRONG)
    except BrokenPipeError:
        raise
    except OSError as error:
        remedy = "What was done is kept: make room or choose another place, and run the same command again."
        ended.status = _say(errors, f"{cannot_write(error, options.out)} {remedy}", STOPPED)
    except KeyboardInterrupt:
        ended.status = _say(
            errors, f"Stopped. What was done is kept in '{options.out}'; the same command goes on.", INTERRUPTED
        )
    except DeviceError as error:
        ended.status = _say(errors, f"{error} What was done is kept; the same command goes on.", STOPPED)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "Lower --batch-size or --image-size; what was done is kept."
        ended.status = _say(errors, f"It does not fit in memory. {remedy}", STOPPED)


@contextmanager
def writing_one_file(errors: Console, out: Path, remedy: str) -> Iterator[Ended]:
    """Answer expected errors of a command that writes one file, or nothing if it fails.

    Args:
        errors: console for the sentence.
        out: the file.
        remedy: sentence that says what to do if memory runs out.
    """
    ended = Ended()
    try:
        yield ended
    except (ValueError, FileNotFoundError, FileExistsError, WeightsError, ImportError) as error:
        ended.status = _say(errors, str(error), WRONG)
    except OSError as error:
        ended.status = _say(errors, f"{cannot_write(error, out)} Make room or choose another place.", STOPPED)
    except KeyboardInterrupt:
        ended.status = _say(errors, "Stopped. Nothing was written.", INTERRUPTED)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        ended.status = _say(errors, f"It does not fit in memory. {remedy}", STOPPED)


def _say(errors: Console, text: str, status: int) -> int:
    errors.print(f"dualclip: {text}", markup=False)
    return status

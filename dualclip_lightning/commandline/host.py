"""Output and errors of our models in a process of anomalib's command line.

Only the standard library is imported, because `plugin` needs this inside `import torch`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from dualclip_lightning.registry import FORMER_NAMES, MODELS

PACKAGE = Path(__file__).parents[1]
NOISY = tuple(f"{part}.utilities.rank_zero" for part in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"))
"""Loggers that report devices and advertise products at every run."""
UNASKED = "anomalib.cli.utils.openvino"
"""Logger that reports missing packages at every start on standard output, where a configuration may be printed."""
ENGINE = "anomalib.engine.engine"
UNFITTING = ("ckpt_path is not provided", "Running validation before")
"""Prefixes of Engine messages that are wrong for our models: their weights are loaded, and no validation runs."""
SPOKEN = ("anomalib", "dualclip_lightning")
"""Loggers whose info messages are shown."""
REFUSALS = (ValueError, TypeError, OSError, ImportError)
"""Errors that our code raises for invalid or unavailable input; the message is a sentence for the user."""

_CONFIGURATIONS = (".yaml", ".yml", ".json")
_CLASS = re.compile(r"\b(?:class_path|model)[\"']?[ \t]*:[ \t]*[\"']?([\w.]+)")
"""A class in a configuration file, found without the import of a YAML parser."""
_OF_OTHER_TYPES = "Expected a <class|Import path |Not of type "
"""Prefixes of jsonargparse's messages about the other types that an option may have."""


def is_anomalibs() -> bool:
    """Return whether this process is anomalib's command."""
    return Path(sys.argv[0]).stem == "anomalib"


def is_ours() -> bool:
    """Return whether this process is anomalib's command with one of our models."""
    return is_anomalibs() and _names_ours()


def configurations(arguments: Sequence[str]) -> list[Path]:
    """Return the configuration files on a command line."""
    given = [Path(argument.rpartition("=")[2]) for argument in arguments]
    return [path for path in given if path.suffix in _CONFIGURATIONS and path.is_file()]


def _names_ours() -> bool:
    """Return whether the command line of this process, or a configuration file on it, names one of our models."""
    given = {part for argument in sys.argv[1:] for part in argument.split("=")}
    for path in configurations(sys.argv[1:]):
        with contextlib.suppress(OSError):  # anomalib says so
            given.update(_CLASS.findall(path.read_text(encoding="utf-8", errors="replace")))
    return not {name.rpartition(".")[2] for name in given}.isdisjoint({*MODELS, *FORMER_NAMES})


def fits_zero_shot(record: logging.LogRecord) -> bool:
    """Return False for messages of anomalib's Engine that do not apply to zero-shot models; used as a log filter."""
    return not record.getMessage().startswith(UNFITTING)


def print_once() -> None:
    """Prevent duplicate log handlers and warnings of libraries; call it before anomalib configures logging."""
    logging.getLogger().addHandler(logging.NullHandler())  # basicConfig then adds none and keeps the level at WARNING
    for name in SPOKEN:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in (*NOISY, UNASKED):
        logging.getLogger(name).setLevel(logging.WARNING)
    if _names_ours():
        logging.getLogger(ENGINE).addFilter(fits_zero_shot)
    for module in ("timm", "anomalib", "torch", "lightning", "torchmetrics"):
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")


def sentence_of(error: BaseException) -> str | None:
    """Return the message of an error that our code raised to reject input; None for any other error, which is a bug.

    jsonargparse wraps the errors of constructors in an error of its own.
    """
    if not isinstance(error, REFUSALS):
        return None
    places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if Path(places[-1]).is_relative_to(PACKAGE):
        return str(error)
    listed = re.findall(rf"^ *- (?!{_OF_OTHER_TYPES})(.+?)(?=^ *- |^Given value)", str(error), re.MULTILINE | re.DOTALL)
    ours = "dualclip_lightning" in str(error) and "jsonargparse" in places[-1]
    return " ".join(" ".join(listed).split()) if listed and ours else None


def explain_refusals() -> None:
    """Let anomalib's command end with one line instead of a traceback if our code rejects its input.

    Call it when one of our classes is instantiated, because anomalib sets its own hook after it has imported them.
    """
    if not is_ours() or sys.excepthook.__module__ == __name__:
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = sentence_of(error)
        if sentence is None:
            before(kind, error, trace)
        else:
            print(f"dualclip: {sentence}", file=sys.stderr)

    sys.excepthook = hook

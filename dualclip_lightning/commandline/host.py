"""Our models in a process that belongs to anomalib's command line: what it prints, and how errors of ours look.

Only the standard library is imported, because `plugin` needs this inside `import torch`.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
import warnings
from pathlib import Path
from types import TracebackType

from dualclip_lightning.registry import FORMER_NAMES, MODELS

PACKAGE = Path(__file__).parents[1]
NOISY = tuple(f"{part}.utilities.rank_zero" for part in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"))
"""Loggers that tell of devices and products at every run."""
UNASKED = "anomalib.cli.utils.openvino"
"""Tells at every start what is not installed, on standard output, where it would stand in a printed configuration."""
ENGINE = "anomalib.engine.engine"
UNFITTING = ("ckpt_path is not provided", "Running validation before")
"""Begin notes of the Engine that are wrong of our models: their weights are loaded, and no validation runs."""
SPOKEN = ("anomalib", "dualclip_lightning")
"""Loggers whose notes are shown."""
REFUSALS = (ValueError, TypeError, OSError, ImportError)
"""What code of ours raises where something cannot be meant or had; its message is a sentence for the user."""

_OF_OTHER_TYPES = "Expected a <class|Import path |Not of type "
"""Begin what jsonargparse lists of the other types that an option may have."""


def is_ours() -> bool:
    """Return whether this process is anomalib's command with one of our models."""
    return Path(sys.argv[0]).stem == "anomalib" and _names_ours()


def _names_ours() -> bool:
    """Return whether the command line of this process names one of our models."""
    given = {part.rpartition(".")[-1] for argument in sys.argv[1:] for part in argument.split("=")}
    return not given.isdisjoint({*MODELS, *FORMER_NAMES})


def fits_zero_shot(record: logging.LogRecord) -> bool:
    """Log filter: what anomalib's Engine says of weights and thresholds that our models do not have is left out."""
    return not record.getMessage().startswith(UNFITTING)


def print_once() -> None:
    """Before anomalib sets logging up: let it add one handler, where it adds two, and let libraries not warn."""
    logging.getLogger().addHandler(logging.NullHandler())  # basicConfig then adds none and leaves the level at warnings
    for name in SPOKEN:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in (*NOISY, UNASKED):
        logging.getLogger(name).setLevel(logging.WARNING)
    if _names_ours():
        logging.getLogger(ENGINE).addFilter(fits_zero_shot)
    for module in ("timm", "anomalib", "torch", "lightning", "torchmetrics"):
        warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")


def sentence_of(error: BaseException) -> str | None:
    """The message of an error that code of ours raised to refuse something; None for any other, as a fault of ours.

    jsonargparse lists what constructors raised in an error of its own.
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
    """Let anomalib's command end with one line, and without a traceback, where code of ours refuses something.

    To be called when one of our classes is made: anomalib sets its own hook after it has imported them.
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

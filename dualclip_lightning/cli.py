"""``dualclip``: the demo, and anomalib's commands with this package's models registered.

Unlike the plug-in, it also works where plug-ins are switched off, and it suggests the nearest match of a misspelt
model.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dualclip_lightning.commandline.anomalib_arguments import (
    former_models,
    former_models_in_files,
    nearest,
    unknown_arguments,
    unknown_classes,
    with_current_models,
)
from dualclip_lightning.commandline.anomalib_help import help_of
from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.commandline.host import REFUSALS, print_once, sentence_of
from dualclip_lightning.commandline.parser import WRONG, leave_closed_pipe
from dualclip_lightning.registry import MODELS, register
from dualclip_lightning.utilities import cachedir

if TYPE_CHECKING:
    from collections.abc import Sequence

OUR_COMMANDS = {
    "predict": "Score images of your own: files or folders, without labels; heatmaps, decisions, a gallery.",
    "calibrate": "Make a detector in one file from images believed good, for predict --bundle.",
    "watch": "Score what arrives in a folder, each image once, until it is stopped.",
    "export": "Write the detector of a bundle as ONNX or OpenVINO, with its references inside.",
    "serve": "Score images over HTTP, with a page for dropping them on; needs the extra serve.",
    "demo": "Score the packaged images with the packaged model; needs no network and no data.",
    "benchmark": "Run methods x data sets x categories x seeds from a YAML file.",
    "compare": "Compare two runs of the benchmark cell by cell, or rank the methods of several.",
    "regression": "Record a few figures, or check that they are still the same.",
    "weights": "List CLIP weights, fetch them ahead of time, check them.",
    "doctor": "Check the installation; what to paste into a bug report.",
}
_HOMES = {
    "predict": "dualclip_lightning.predict.options",
    "calibrate": "dualclip_lightning.predict.bundle.calibrate_options",
    "watch": "dualclip_lightning.predict.watch.options",
    "export": "dualclip_lightning.predict.export.options",
    "serve": "dualclip_lightning.serving.options",
    "demo": "dualclip_lightning.demo.options",
    "benchmark": "dualclip_lightning.benchmark.options:benchmark",
    "compare": "dualclip_lightning.benchmark.options:compare",
    "regression": "dualclip_lightning.benchmark.options:regression",
    "weights": "dualclip_lightning.weights.command",
    "doctor": "dualclip_lightning.doctor.command",
}
"""Modules of the commands, which take no time to import, and the function to call if it is not `main`."""
ANOMALIB_COMMANDS = {
    "test": "Score a test set and report the metrics.",
    "predict": "With --model, --data or --config: anomalib's way of scoring a folder.",
    "train": "Fit a model of anomalib that needs it, then test it.",
    "fit": "Fit a model.",
    "validate": "Run one evaluation over the validation set.",
    "export": "With --model or --config: export a model to Torch, ONNX or OpenVINO.",
}
_ANOMALIBS_OPTIONS = ("--model", "--data", "--config", "--print_config", "--export_type", "--ckpt_path")
CLOSED, INTERRUPTED = 141, 130
"""Exit statuses that shells report after SIGPIPE and SIGINT."""
_NOT_OFFERED = {
    "install": "it would replace open_clip by a version too old for this package. Use pip to add what is missing",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: arguments; None means those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    show_what_it_can()
    cachedir.home()  # before libraries look up the home folder
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:  # possible during imports, too, which take seconds
        return _fail("stopped.", INTERRUPTED)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        leave_closed_pipe()
        return CLOSED
    return status


def _run(arguments: list[str]) -> int:
    # anomalib's imports cause warnings that are of no use to the user of a command.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(timm|anomalib)\.")
    command = arguments[0] if arguments else "--help"
    if command in {"-h", "--help"}:
        print(_help())
    elif command in {"version", "--version"}:
        print(_versions())
    elif command in OUR_COMMANDS and not _meant_for_anomalib(arguments):
        home, _, function = _HOMES[command].partition(":")
        return getattr(import_module(home), function or "main")(arguments[1:]) or 0
    elif command in ANOMALIB_COMMANDS and {"-h", "--help"} & set(arguments):
        print(help_of(command, ANOMALIB_COMMANDS[command]))
    elif command in ANOMALIB_COMMANDS or command.startswith("-"):
        return _run_anomalib(arguments)
    else:
        return _fail(_unknown_command(command))
    return 0


def _meant_for_anomalib(arguments: Sequence[str]) -> bool:
    """Return whether `predict` or `export`, commands of both, have options of anomalib's."""
    return arguments[0] in ANOMALIB_COMMANDS and any(argument.startswith(_ANOMALIBS_OPTIONS) for argument in arguments)


def _run_anomalib(arguments: list[str]) -> int:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network for updates otherwise
    from anomalib.cli.cli import configure_logger  # noqa: PLC0415  # takes seconds

    register()
    for message in former_models(arguments):
        print(f"dualclip: {message}", file=sys.stderr)
    arguments = with_current_models(arguments)
    for refuse in (former_models_in_files, unknown_classes, unknown_arguments):
        for message in refuse(arguments):
            return _fail(message)
    print_once()
    configure_logger()
    try:
        _command_line()(arguments)
    except REFUSALS as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        return _fail(sentence)
    return 0


def _command_line() -> Any:
    """Return anomalib's CLI, which creates our models with `_instantiate` and explains missing data."""
    from anomalib.cli.cli import AnomalibCLI  # noqa: PLC0415

    from dualclip_lightning.data.missing import told_where_to_get  # noqa: PLC0415

    class CommandLine(AnomalibCLI):
        @staticmethod
        def init_parser(**kwargs: Any) -> Any:
            parser = AnomalibCLI.init_parser(**kwargs)
            for name, home in MODELS.items():
                parser.add_instantiator(_instantiate, getattr(import_module(home), name))
            return parser

        def _run_subcommand(self) -> None:
            with told_where_to_get(getattr(self, "datamodule", None)):
                super()._run_subcommand()

    return CommandLine


def _instantiate(class_type: type, *args: Any, **kwargs: Any) -> Any:
    """Create one of our models; jsonargparse would hide an error of its constructor in one of its own."""
    try:
        return class_type(*args, **kwargs)
    except (ValueError, OSError, RuntimeError) as error:  # the documented errors of our constructors
        raise SystemExit(_fail(str(error))) from error


def _unknown_command(command: str) -> str:
    if command in _NOT_OFFERED:
        return f"`dualclip {command}` is not offered: {_NOT_OFFERED[command]}."
    near = nearest(command, [*OUR_COMMANDS, *ANOMALIB_COMMANDS])
    hint = f"Did you mean `dualclip {near[0]}`?" if near else "Run `dualclip --help` for the list."
    return f"Expected a command of dualclip, but got {command!r}. {hint}"


def _fail(message: str, status: int = WRONG) -> int:
    print(f"dualclip: {message}", file=sys.stderr)
    return status


def _versions() -> str:
    from importlib.metadata import version  # noqa: PLC0415  # keeps the start of this module fast

    return f"dualclip_lightning {version('dualclip_lightning')} (anomalib {version('anomalib')})"


def _help() -> str:
    def table(commands: dict[str, str]) -> str:
        return "\n".join(f"  {name:<10} {text}" for name, text in commands.items())

    return f"""usage: dualclip <command> [options]

Zero-shot anomaly detection with CLIP, without training.

commands:
{table(OUR_COMMANDS)}

commands of anomalib, with the models of this package (its own benchmark is `anomalib benchmark`):
{table(ANOMALIB_COMMANDS)}

options:
  -h, --help   show this text; `dualclip <command> --help` shows the options of a command
  version      show the versions of this package and of anomalib (also --version)

examples:
  dualclip demo
  dualclip predict path/to/images --class-name "steel plate"
  dualclip test --model DualImageCLIP --data MVTec --data.category bottle"""


if __name__ == "__main__":
    sys.exit(main())

"""``dualclip``: the demo, and anomalib's commands with this package's models registered.

The plain way beside the plug-in: it works where plug-ins are switched off, and it names the nearest match of a
misspelt model.
"""

from __future__ import annotations

import difflib
import os
import sys
import warnings
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualclip_lightning import cachedir
from dualclip_lightning.anomalib_help import help_of
from dualclip_lightning.commandline import WRONG, leave_closed_pipe
from dualclip_lightning.console import show_what_it_can
from dualclip_lightning.host import REFUSALS, print_once, sentence_of
from dualclip_lightning.registry import MODELS, register

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OUR_COMMANDS = {
    "predict": "Score images of your own: files or folders, without labels; heatmaps, decisions, a gallery.",
    "demo": "Score the packaged images with the packaged model; needs no network and no data.",
    "benchmark": "Run methods x data sets x categories x seeds from a YAML file.",
    "compare": "Put two runs of the benchmark side by side, cell by cell.",
    "regression": "Record a few figures, or check that they are still the same.",
    "weights": "List CLIP weights, fetch them ahead of time, check them.",
}
_HOMES = {
    "predict": "dualclip_lightning.predict.options",
    "demo": "dualclip_lightning.demo.options",
    "benchmark": "dualclip_lightning.benchmark.options:benchmark",
    "compare": "dualclip_lightning.benchmark.options:compare",
    "regression": "dualclip_lightning.benchmark.options:regression",
    "weights": "dualclip_lightning.weights.command",
}
"""Modules that take no time to import, and the function to call where it is not `main`."""
ANOMALIB_COMMANDS = {
    "test": "Score a test set and report the metrics.",
    "predict": "With --model, --data or --config: anomalib's way of scoring a folder.",
    "train": "Fit a model of anomalib that needs it, then test it.",
    "fit": "Fit a model.",
    "validate": "Run one evaluation over the validation set.",
    "export": "Export a model to Torch, ONNX or OpenVINO.",
}
_ANOMALIBS_OPTIONS = ("--model", "--data", "--config", "--print_config")
CLOSED, INTERRUPTED = 141, 130
"""Exit statuses, as shells give them to what SIGPIPE and SIGINT end."""
_NOT_OFFERED = {
    "install": "it would replace open_clip by a version too old for this package. Use pip to add what is missing",
}
_BASE_CLASSES = {"--model": ("anomalib.models", "AnomalibModule"), "--data": ("anomalib.data", "AnomalibDataModule")}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: the arguments; those of the process if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    show_what_it_can()
    cachedir.home()  # before libraries look for it
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:  # also while libraries are imported, which takes seconds
        return _fail("stopped.", INTERRUPTED)
    except BrokenPipeError:  # whoever read the output, as `head` does, has enough
        leave_closed_pipe()
        return CLOSED
    return status


def _run(arguments: list[str]) -> int:
    # anomalib warns of what it imports from timm and from itself, about which who runs a command can do nothing.
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
    """Whether `predict`, which both have, is used in anomalib's way."""
    return arguments[0] == "predict" and any(argument.startswith(_ANOMALIBS_OPTIONS) for argument in arguments)


def _run_anomalib(arguments: list[str]) -> int:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network for updates otherwise
    from anomalib.cli.cli import configure_logger  # noqa: PLC0415  # takes seconds

    register()
    for message in (*_unknown_classes(arguments), *_unknown_arguments(arguments)):
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
    """The CLI of anomalib, in which our models are created by `_instantiate`."""
    from anomalib.cli.cli import AnomalibCLI  # noqa: PLC0415

    class CommandLine(AnomalibCLI):
        @staticmethod
        def init_parser(**kwargs: Any) -> Any:
            parser = AnomalibCLI.init_parser(**kwargs)
            for name, home in MODELS.items():
                parser.add_instantiator(_instantiate, getattr(import_module(home), name))
            return parser

    return CommandLine


def _instantiate(class_type: type, *args: Any, **kwargs: Any) -> Any:
    """Create one of our models; jsonargparse would bury what its constructor refuses in an error of its own."""
    try:
        return class_type(*args, **kwargs)
    except (ValueError, OSError, RuntimeError) as error:  # what the constructors of our models say they raise
        raise SystemExit(_fail(str(error))) from error


def _unknown_classes(arguments: Sequence[str]) -> Iterator[str]:
    """Say which short class names on the command line nobody has, and what comes nearest."""
    for option, name in _options(arguments):
        # Anything else is a class path, a configuration file or, for predict, a folder.
        if name.isidentifier() and not Path(name).exists() and name not in (known := _known_classes(option)):
            near = _nearest(name, known) or sorted(known)
            yield f"Expected {option} to name a known class, but got {name!r}. Did you mean {' or '.join(near)}?"


def _unknown_arguments(arguments: Sequence[str]) -> Iterator[str]:
    """Say which arguments of our models nobody has; jsonargparse takes a dozen lines for that."""
    names = [name for option, name in _options(arguments) if option == "--model" and name in MODELS]
    if not names:
        return
    known = signature(getattr(import_module(MODELS[names[-1]]), names[-1])).parameters
    for argument in arguments:
        key = argument.partition("=")[0].removeprefix("--model.").partition(".")[0]
        if argument.startswith("--model.") and key not in {*known, "help", "class_path", "init_args", "dict_kwargs"}:
            near = _nearest(key, known)
            hint = f" Did you mean --model.{near[0]}?" if near else f" Its arguments are {', '.join(known)}."
            yield f"{names[-1]} has no argument '{key}'.{hint}"


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for position, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in _BASE_CLASSES:
            following = arguments[position + 1 : position + 2]
            yield from ((option, text) for text in ([value] if equals else following))


def _known_classes(option: str) -> set[str]:
    module, base = _BASE_CLASSES[option]
    waiting, names = [getattr(import_module(module), base)], set()
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            waiting.append(subclass)
            names.add(subclass.__name__)
    return names


def _nearest(name: str, choices: Iterable[str]) -> list[str]:
    by_lower_case = {choice.lower(): choice for choice in choices}
    return [by_lower_case[found] for found in difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)]


def _unknown_command(command: str) -> str:
    if command in _NOT_OFFERED:
        return f"`dualclip {command}` is not offered: {_NOT_OFFERED[command]}."
    near = _nearest(command, [*OUR_COMMANDS, *ANOMALIB_COMMANDS])
    hint = f"Did you mean `dualclip {near[0]}`?" if near else "Run `dualclip --help` for the list."
    return f"Expected a command of dualclip, but got {command!r}. {hint}"


def _fail(message: str, status: int = WRONG) -> int:
    print(f"dualclip: {message}", file=sys.stderr)
    return status


def _versions() -> str:
    from importlib.metadata import version  # noqa: PLC0415  # this module starts fast

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

"""Common parts of all our commands: parser, help, errors and verbosity. Imports nothing that takes time."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from dualclip_lightning.commandline import quiet
from dualclip_lightning.commandline.importing import uncollected

WRONG = 2
"""Exit status for wrong usage."""
SYNONYMS = {
    "--class": "--class-name", "--name": "--class-name", "--object": "--class-name", "--prompt": "--class-name",
    "--project": "--out", "--save-dir": "--out", "--results": "--out", "--conf": "--threshold",
    "--weights": "--pretrained", "--checkpoint": "--pretrained", "--imgsz": "--image-size", "--batch": "--batch-size",
    "--save-maps": "--maps", "--ignore": "--exclude",
}  # fmt: skip
"""Names of our options in other tools."""
PLAIN = frozenset({"--source", "--input", "--images", "--path", "--image", "--folder", "--dir"})
"""Options of other tools for what is a positional argument here."""
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help formatter that shows the default of every option that takes a value."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        tells = action.option_strings and action.nargs != 0 and not action.required and "default" not in text
        if not tells or action.default in (None, argparse.SUPPRESS):
            return text
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        return f"{text}; default: {default or 'none'}".replace("%", "%%") if text else f"default: {default}"


class Parser(argparse.ArgumentParser):
    """Parser that reports an error in one line, with the option that was probably meant.

    Every command has `--quiet` and `--verbose`, which `speaking` applies.
    """

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog, description=description, epilog=epilog, formatter_class=HelpFormatter, allow_abbrev=False
        )
        volume = self.add_argument_group("what is said").add_mutually_exclusive_group()
        volume.add_argument("--quiet", action="store_true", help="errors only")
        volume.add_argument("--verbose", action="store_true", help="also what the libraries log and warn of")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse as argparse does, but report an unknown option before a missing one."""
        arguments = list(sys.argv[1:] if args is None else args)
        for option in unknown_options(arguments, self._option_string_actions):
            self.error(self._unknown(option))
        return super().parse_args(arguments, namespace)

    def _unknown(self, option: str) -> str:
        takes_plain = any(not action.option_strings for action in self._actions)
        if option in PLAIN and takes_plain:
            return f"Unknown option {option}. Give the path without an option: `{self.prog} PATH`."
        shown = [name for name, action in self._option_string_actions.items() if action.help != argparse.SUPPRESS]
        near = nearest_option(option, shown)
        return f"Unknown option {option}." + f" Did you mean {near}?" * bool(near)

    def error(self, message: str) -> NoReturn:
        """Print one line to standard error, and exit with status 2."""
        sentence = message[:1].upper() + message[1:]
        stop = "" if sentence.endswith((".", "?")) else "."
        self.exit(WRONG, f"dualclip: {sentence}{stop} See `{self.prog} --help`.\n")


def unknown_options(arguments: Sequence[str], known: Iterable[str]) -> Iterator[str]:
    """Yield the arguments that look like an option but are unknown."""
    names = set(known)
    for argument in arguments:
        if argument == "--":
            return
        option = argument.partition("=")[0]
        looks = argument.startswith("-") and argument != "-" and " " not in option and not _NUMBER.fullmatch(argument)
        if looks and option not in names:
            yield option


def nearest_option(option: str, known: Iterable[str]) -> str | None:
    """Return the known option that was probably meant, by its name in another tool, its prefix or its letters."""
    names = sorted(name for name in known if name.startswith("--"))
    written = option.lower().replace("_", "-")
    if (synonym := SYNONYMS.get(written)) in names:
        return synonym
    beginning = [name for name in names if len(written) > len("--") and name.startswith(written)]
    near = beginning or difflib.get_close_matches(written, names, n=1, cutoff=0.7)
    return near[0] if near else None


def whole_from_one(text: str) -> int:
    """Parse an integer of at least 1; used as the type of an option."""
    if not text.isdecimal() or int(text) < 1:
        msg = f"expected a whole number from 1, but got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def with_new_names(arguments: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Return the arguments with the new names of options, and report old names on standard error."""
    given = {argument.partition("=")[0] for argument in arguments}
    for old in sorted(given & renamed.keys()):
        print(f"dualclip: {old} is called {renamed[old]} now; the old name will go.", file=sys.stderr)
    return [renamed.get(name, name) + equals + value for name, equals, value in (a.partition("=") for a in arguments)]


@contextmanager
def speaking(options: argparse.Namespace) -> Iterator[None]:
    """Apply the requested verbosity: `quiet` drops standard output, `verbose` shows the messages of libraries."""
    if getattr(options, "verbose", False):
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        with quiet.loud():
            yield
    elif getattr(options, "quiet", False):
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            yield
    else:
        yield


def run_checked(
    options: argparse.Namespace,
    check: Callable[[], tuple[Any, ...]],
    load: Callable[[], Callable[..., int]],
    refused: tuple[type[Exception], ...] = (FileNotFoundError, ValueError),
) -> int:
    """Run a command whose request is checked before PyTorch is imported, and return its exit status.

    Args:
        options: options of the command.
        check: function that checks the request and returns the further arguments of the command.
        load: function that imports the command, which takes seconds, and returns it.
        refused: errors of `check` that are answered with their sentence.
    """
    try:
        found = check()
    except refused as error:
        print(f"dualclip: {error}", file=sys.stderr)
        return WRONG
    if not options.quiet:
        print("Loading PyTorch and the model ...", file=sys.stderr, flush=True)
    with uncollected():
        run = load()
    with speaking(options):
        return run(options, *found)


def leave_closed_pipe() -> None:
    """Discard all further standard output after its reader has closed it, even at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

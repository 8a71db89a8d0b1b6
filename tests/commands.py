"""Commands as a user types them, in a folder with a small data set in MVTec AD's layout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from anomalib.cli import cli as anomalib_cli

from dualclip_lightning import cli
from dualclip_lightning.plugin import autoload
from tests.ended import Ended
from tests.forked import Forked
from tests.interpreters import BINARIES, run_prepared
from tests.towers import TINY_CLIP

TRAINED = ("--model.pretrained", str(TINY_CLIP))
METRICS = {"image_AUROC", "image_F1Max", "image_AP", "pixel_AUROC", "pixel_F1Max", "pixel_PRO", "pixel_AP"}
COMMANDS = {"dualclip": cli.main, "anomalib": anomalib_cli.main}


@dataclass(frozen=True)
class Workplace:
    """A folder with ``datasets/MVTecAD/bottle``, in which commands are run."""

    folder: Path

    def start(self, name: str, *arguments: str, **environment: str) -> Ended:
        """Run a command in a fork of this process; `name` is `dualclip` or `anomalib`."""

        def call() -> int | None:
            sys.argv = [name, *arguments]
            if name == "anomalib":
                autoload()  # as `import torch` does, which has been imported
            return COMMANDS[name]()

        return Forked(call, self.folder, HOME=str(self.folder), COLUMNS="200", **environment).end()

    def start_prepared(self, name: str, *arguments: str, **environment: str) -> Ended:
        """Run the installed command as in a new interpreter that has already imported other libraries."""
        return run_prepared([name, *arguments], self.folder, {**self._settings(), **environment})

    def start_new(self, name: str, *arguments: str) -> Ended:
        """Run the installed command in a new interpreter, as a shell does."""
        line = [str(BINARIES / name), *arguments]
        done = subprocess.run(line, cwd=self.folder, env=self._settings(), capture_output=True, text=True, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)

    def _settings(self) -> dict[str, str]:
        return {
            "PATH": str(BINARIES), "HOME": str(self.folder), "COLUMNS": "200", "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # where the code under test may be
        }  # fmt: skip


def printed(ended: Ended) -> str:
    """Return everything that a command printed, after checking that it succeeded."""
    assert ended.status == 0, ended.out + ended.err
    return ended.out + ended.err


def metrics_of(ended: Ended) -> dict[str, float]:
    """Return the table of metrics that a command printed."""
    return {name: float(value) for name, value in re.findall(r"(\w+_\w+) +│ +([\d.]+)", printed(ended))}


def refusal(ended: Ended) -> str:
    """Return the only line that a refused command printed on standard error."""
    assert ended.status != 0
    (line,) = ended.err.splitlines()
    return line

"""Commands and scripts as in a new interpreter, without the time that it takes to import PyTorch.

A server, itself a new interpreter, has imported the libraries below, but neither anomalib nor this package. It forks
for each command, and the plug-in is then loaded through its entry point, as at the end of `import torch`.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from tests.ended import Ended

BINARIES = Path(sys.executable).parent
LIBRARIES = [
    "torch", "lightning.pytorch", "torchmetrics", "torchvision", "open_clip", "timm", "kornia", "sklearn.metrics",
    "scipy.signal", "pandas", "matplotlib.pyplot", "cv2", "jsonargparse", "omegaconf", "albumentations",
]  # fmt: skip
"""Libraries that the server imports; those that are not installed are left out.

None may start a thread of Python, such as that of OpenVINO's telemetry, whose locks a fork would wait for.
"""
SWITCH = "TORCH_DEVICE_BACKEND_AUTOLOAD"
"""Variable with which PyTorch loads no plug-in."""


def prepared_context() -> ForkServerContext:
    """Return a context whose processes are forks of the server, as those of `spawn` are new interpreters."""
    if _start_server() != os.getpid():  # a fork, which could not wait for the server, but may use it
        vars(forkserver._forkserver)["ensure_running"] = lambda: None
    return get_context("forkserver")


@cache
def _start_server() -> int:
    """Start the server, once, and return the ID of the process that did so."""
    get_context("forkserver").set_forkserver_preload(LIBRARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0")  # for the server
        forkserver.ensure_running()
    return os.getpid()


def run_prepared(line: Sequence[str], place: Path, environment: Mapping[str, str]) -> Ended:
    """Run an installed command, or a script after "-c", in a folder and with exactly these environment variables."""
    context = prepared_context()
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder, name) for name in ("out", "err")]
        process = context.Process(target=_run, args=([*line], place, {**environment}, printed))
        process.start()
        try:
            process.join()
        finally:
            process.kill()
        out, err = (path.read_text(encoding="utf-8") for path in printed)
    return Ended(int(process.exitcode or 0), out, err)


def _run(line: list[str], place: Path, environment: dict[str, str], printed: list[Path]) -> None:
    """Become the interpreter: own streams, signals, folder and environment, then the plug-in and the command."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(printed, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ |= environment
    os.chdir(place)
    sys.argv = ["-c", *line[2:]] if line[0] == "-c" else [str(BINARIES / line[0]), *line[1:]]
    import torch

    if os.environ.get(SWITCH, "1") == "1":
        torch._import_device_backends()
    try:
        if line[0] == "-c":
            exec(compile(line[1], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except Exception:  # noqa: BLE001 - multiprocessing would print it without asking the hook
        sys.excepthook(*sys.exc_info())
        sys.exit(1)

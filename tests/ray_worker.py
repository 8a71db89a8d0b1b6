"""What a machine of a test's cluster runs for each worker: a request for a fork of an interpreter with all libraries.

Ray's own script takes the same arguments, and starts two new interpreters one after the other.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
from collections.abc import Sequence
from importlib import import_module

SOCKET = "DUALCLIP_TESTS_FORKS"
"""Variable with the path of the socket at which forks are requested."""


def request_fork(arguments: Sequence[str]) -> None:
    """Request a worker, and stay for as long as it lives."""
    message = {"arguments": arguments, "environment": dict(os.environ), "directory": os.getcwd()}  # noqa: PTH109 - text
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[SOCKET])
        connection.sendall(json.dumps(message).encode())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def serve_forks(listening: socket.socket, modules: Sequence[str]) -> None:
    """Load the plug-in and import modules, and become a worker in a fork for each request, until killed.

    Ray may not be among the modules, because it reads the environment when it is imported.
    """
    import signal

    import torch

    torch._import_device_backends()
    for name in modules:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with connection.makefile(encoding="utf-8") as sent:
                _become(**json.load(sent))
            sys.exit()
        connection.close()


def _become(arguments: list[str], environment: dict[str, str], directory: str) -> None:
    os.environ.clear()
    os.environ |= environment
    os.chdir(directory)
    sys.argv = [each for each in arguments if not each.startswith(("--language", "--serialized-runtime-env-context"))]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    request_fork(sys.argv[1:])

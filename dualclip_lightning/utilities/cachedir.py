"""Where this package keeps what it can make again."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def cache_dir(name: str) -> Path:
    """Folder for one kind of cache, not created here.

    It lies under DUALCLIP_CACHE if that is set, else under dualclip_lightning in the user's cache folder
    (XDG_CACHE_HOME, by default ~/.cache).
    """
    chosen = os.environ.get("DUALCLIP_CACHE")
    if chosen:
        return Path(chosen).expanduser() / name
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user).expanduser() if user else home() / ".cache") / "dualclip_lightning" / name


def home() -> Path:
    """The user's home folder; a temporary one, which HOME names from then on, where the system knows none.

    Containers often run as a user id without an entry in the list of users and without HOME. PyTorch, Matplotlib and
    the hub's client ask for the home folder or for the user's name, too, and would fail or write to a folder named "~".
    """
    try:
        return Path.home()
    except RuntimeError:
        folder = tempfile.mkdtemp(prefix="dualclip-home-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["HOME"] = folder
        os.environ.setdefault("USER", "unknown")
        message = (
            f"dualclip: no home folder is known for this user, so caches go to {folder} and are deleted at the end. "
            "Set HOME to a folder that can be written to keep them."
        )
        print(message, file=sys.stderr)
        return Path(folder)

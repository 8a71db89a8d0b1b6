"""Cache folders of this package."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path


def cache_dir(name: str) -> Path:
    """Return the folder of one cache, without creating it.

    It is below DUALCLIP_CACHE if that is set, else below dualclip_lightning in the user's cache folder
    (XDG_CACHE_HOME, by default ~/.cache).
    """
    chosen = os.environ.get("DUALCLIP_CACHE")
    if chosen:
        return Path(chosen).expanduser() / name
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user).expanduser() if user else home() / ".cache") / "dualclip_lightning" / name


def home() -> Path:
    """Return the user's home folder; if the system knows none, a temporary one to which HOME is set.

    Containers often run under a user id without a passwd entry and without HOME. PyTorch, Matplotlib and the hub's
    client look up the home folder or the user's name, too, and would fail or write to a folder named "~".
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

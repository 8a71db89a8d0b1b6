"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
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
    return (Path(user).expanduser() if user else Path.home() / ".cache") / "dualclip_lightning" / name

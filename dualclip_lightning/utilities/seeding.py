"""Seeds that depend on what they are for, not on the order in which they are asked for."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath


def derive_seed(seed: int, *parts: str | bytes | int) -> int:
    """A seed in [0, 2**63) from a run's seed and the name of its use, for example an image's identity.

    The same arguments give the same seed on every machine; a change of any of them gives an unrelated one.
    """
    digest = hashlib.sha256(str(int(seed)).encode())
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(f"|{type(part).__name__}:{len(content)}:".encode())
        digest.update(content)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def file_identity(name: str) -> str:
    """Folder and file name: the same wherever the data set and the working directory lie."""
    path = os.path.abspath(name) if os.path.exists(name) else name  # noqa: PTH100, PTH110 - what is no file has a name
    return "/".join(PurePath(path).parts[-2:])

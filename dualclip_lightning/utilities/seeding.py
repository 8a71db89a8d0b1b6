"""Seeds that depend on their purpose, not on the order in which they are derived."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath


def derive_seed(seed: int, *parts: str | bytes | int) -> int:
    """Derive a seed in [0, 2**63) from a run's seed and its purpose, for example an image's identity.

    The same arguments yield the same seed on every machine; a change of any argument yields an unrelated seed.
    """
    digest = hashlib.sha256(str(int(seed)).encode())
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        digest.update(f"|{type(part).__name__}:{len(content)}:".encode())
        digest.update(content)
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def file_identity(name: str) -> str:
    """Return folder and file name, which do not depend on the locations of the data set and the working directory."""
    path = os.path.abspath(name) if os.path.exists(name) else name  # noqa: PTH100, PTH110 - other names stay unchanged
    return "/".join(PurePath(path).parts[-2:])

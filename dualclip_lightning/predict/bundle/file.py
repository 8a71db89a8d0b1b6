"""The file of a bundle: tensors in the safetensors format, with everything else as JSON in its header.

Nothing in the file is executed, and any program that reads safetensors can read it. A digest over the whole content
detects damage. It is no signature, so it does not prove who wrote the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dualclip_lightning.utilities.files import check_free, write_bytes_atomically

VERSION = 1
"""Version of the format; a release reads files of its own version only."""
KEY = "dualclip_bundle"
"""Key of the only entry of the header's metadata; with one entry, equal detectors give equal files."""
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle.

    Args:
        arguments: arguments of the detector as plain data, without references, threshold and device.
        settings: `Detector.settings` as plain data.
        references: names of the images whose features are held: given references, or the bank of a stream from the
            oldest.
        arrays: features of these images by the keys of `features.to_arrays`.
        threshold: a threshold as plain data, "auto" for one from each call, or None for no decisions.
        versions: versions of the libraries that affect scores.
        directory: working directory when it was saved, to which relative paths refer.
    """

    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    references: tuple[str, ...]
    arrays: Arrays
    threshold: Mapping[str, Any] | str | None
    versions: Mapping[str, str]
    directory: str

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data."""
        return {
            "arguments": self.arguments, "settings": self.settings, "references": list(self.references),
            "threshold": self.threshold, "versions": self.versions, "directory": self.directory,
        }  # fmt: skip

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return _digest(self.facts, self.arrays)

    @property
    def features_digest(self) -> str | None:
        """SHA-256 of the features; None if there are none."""
        return _digest({"references": self.references}, self.arrays) if self.references else None

    def located(self, path: str) -> str:
        """Return a path as it leads to a file from here, if it was relative to the directory of saving."""
        there = Path(self.directory) / path
        return path if Path(path).exists() or not there.exists() else str(there)


def write_bundle(path: Path, bundle: Bundle, *, overwrite: bool = False) -> None:
    """Write a bundle completely or not at all.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
    """
    check_free(path, overwrite=overwrite)
    header = {"version": VERSION, "sha256": bundle.digest, **bundle.facts}
    write_bytes_atomically(path, save(dict(bundle.arrays), metadata={KEY: json.dumps(header)}))


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check that it is complete.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, is damaged, has another version or is something else; the message says so.
    """
    path = Path(path)
    if not path.exists():
        msg = f"There is no bundle '{path}'. Make one with Detector.save or 'dualclip calibrate'."
        raise FileNotFoundError(msg)
    try:
        text, arrays = _read(path)
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        # Other kinds of tensors than numpy's raise the last two.
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        msg = f"Cannot read a bundle from '{path}' ({reason}). The file is incomplete, or it is something else."
        raise ValueError(msg) from error
    if text is None:
        msg = f"'{path}' is not a bundle, although it is in the same format. Give a file that Detector.save wrote."
        raise ValueError(msg)
    return _checked(path, text, arrays)


def _read(path: Path) -> tuple[str | None, dict[str, npt.NDArray[Any]]]:
    """Return the text in the header, or None if there is none, and the arrays."""
    with safe_open(path, framework="np") as file:
        text = (file.metadata() or {}).get(KEY)
        return text, {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118 - no mapping


def _checked(path: Path, text: str, arrays: Arrays) -> Bundle:
    damaged = f"The bundle '{path}' is damaged: its content is not what was saved. Copy or make it again."
    try:
        header = json.loads(text)
        version, digest = header.pop("version"), header.pop("sha256")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(damaged) from error
    if version != VERSION:
        msg = f"The bundle '{path}' has format {version}, but this release reads format {VERSION}. Make it again, or "
        raise ValueError(msg + "use the release that made it.")
    if digest != _digest(header, arrays):
        raise ValueError(damaged)
    try:
        return Bundle(**{**header, "references": tuple(header["references"])}, arrays=arrays)
    except (TypeError, KeyError) as error:
        raise ValueError(damaged) from error


def _digest(facts: Mapping[str, Any], arrays: Arrays) -> str:
    sha = sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()

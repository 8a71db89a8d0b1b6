"""The files of an export; imports nothing that takes time."""

from __future__ import annotations

from pathlib import Path

from dualclip_lightning.utilities.extras import FOR_ONNX, OPENVINO, require_export
from dualclip_lightning.utilities.files import check_free

ONNX_SUFFIX, OPENVINO_SUFFIX = ".onnx", ".xml"
RUNTIMES = {ONNX_SUFFIX: "onnxruntime", OPENVINO_SUFFIX: OPENVINO}
"""Packages that run the files, by suffix."""


def check_target(path: Path, *, overwrite: bool) -> None:
    """Check that a file of this name can be exported.

    Raises:
        ValueError: If its suffix is neither of ONNX nor of OpenVINO.
        ImportError: If a package for the export is missing; the message has the command that installs it.
        FileExistsError: If it exists and must not be overwritten, or is a folder.
    """
    if path.suffix not in RUNTIMES:
        msg = f"Expected a file with the suffix .onnx (ONNX) or .xml (OpenVINO), but got '{path}'."
        raise ValueError(msg)
    require_export(*FOR_ONNX, RUNTIMES[path.suffix])
    for each in expected_files(path):
        check_free(each, overwrite=overwrite)


def expected_files(path: Path) -> list[Path]:
    """Return the files of an export: OpenVINO keeps the weights in a file of their own, beside the graph."""
    return [path, path.with_suffix(".bin")] if path.suffix == OPENVINO_SUFFIX else [path]

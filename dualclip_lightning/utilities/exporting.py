"""Packages that exports need, and the version of ONNX that they write."""

from __future__ import annotations

from dualclip_lightning.utilities.extras import require_extra

FOR_ONNX = ("onnx", "onnxscript")
"""Packages that torch's exporter imports."""
OPENVINO = "openvino"
OPSET = 18
"""The opset of torch's exporter, which cannot convert to anomalib's opset 14."""


def require(*packages: str) -> None:
    """Check that the packages of an export are installed.

    Raises:
        ModuleNotFoundError: some are missing; the message has the command that installs them.
    """
    require_extra(OPENVINO if OPENVINO in packages else "export", "This export", *packages)

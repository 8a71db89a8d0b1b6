"""Packages that exports need, and the version of ONNX that they write."""

from __future__ import annotations

from importlib.util import find_spec

FOR_ONNX = ("onnx", "onnxscript")
"""Packages that torch's exporter imports."""
OPENVINO = "openvino"
OPSET = 18
"""The opset of torch's exporter, which cannot convert to anomalib's opset 14."""


def require(*packages: str) -> None:
    """Check that packages are installed.

    Raises:
        ImportError: some are missing; the message has the command that installs them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        extra = OPENVINO if OPENVINO in packages else "export"
        msg = f'This export needs {" and ".join(missing)}. Run `pip install "dualclip_lightning[{extra}]"`.'
        raise ImportError(msg)

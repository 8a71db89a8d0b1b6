"""Packages that the extras of this package install, and the version of ONNX that exports write."""

from __future__ import annotations

from importlib.util import find_spec

FOR_ONNX = ("onnx", "onnxscript")
"""Packages that torch's exporter imports."""
OPENVINO = "openvino"
OPSET = 18
"""The opset of torch's exporter, which cannot convert to anomalib's opset 14."""


def missing_extra(extra: str, what: str, *packages: str) -> str | None:
    """Return the sentence for packages that are not installed, with the command that installs them; None if all are.

    Args:
        extra: name of the extra.
        what: what needs them, as the subject of the sentence.
        *packages: their import names.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return None
    return f'{what} needs {" and ".join(missing)}. Run `pip install "dualclip_lightning[{extra}]"`.'


def require_extra(extra: str, what: str, *packages: str) -> None:
    """Check that packages are installed.

    Raises:
        ModuleNotFoundError: some are missing; the message is that of `missing_extra`.
    """
    if (sentence := missing_extra(extra, what, *packages)) is not None:
        raise ModuleNotFoundError(sentence)


def require_export(*packages: str) -> None:
    """Check that the packages of an export are installed.

    Raises:
        ModuleNotFoundError: some are missing; the message has the command that installs them.
    """
    require_extra(OPENVINO if OPENVINO in packages else "export", "This export", *packages)

"""Exported files in the runtimes for which they are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Runner = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
"""Function from inputs to outputs, both by name."""


def in_onnxruntime(path: str | Path) -> Runner:
    """Load a file with onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def in_openvino(path: str | Path) -> Runner:
    """Do the same with OpenVINO, in single precision."""
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: {output.any_name: found for output, found in compiled(inputs).items()}

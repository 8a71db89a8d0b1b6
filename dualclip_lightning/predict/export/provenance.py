"""What an exported file says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dualclip_lightning.predict.bundle.file import Bundle
from dualclip_lightning.predict.export.graph import DecisionGraph
from dualclip_lightning.utilities.extras import FOR_ONNX, OPSET
from dualclip_lightning.utilities.versions import versions

INPUT = "image"
OUTPUTS = ("score", "map", "decision")


def output_names(graph: DecisionGraph) -> tuple[str, ...]:
    """Return the names of the outputs of a graph."""
    return OUTPUTS if graph.threshold is not None else OUTPUTS[:-1]


def describe(graph: DecisionGraph, detector: Bundle) -> dict[str, str]:
    """Return the metadata of a file, as text by name; whatever is not a sentence is JSON.

    Args:
        graph: the exported graph.
        detector: content of the detector's bundle.
    """
    height, width = graph.size
    threshold = detector.threshold if isinstance(detector.threshold, Mapping) else {}
    said = {
        "title": f"{detector.settings['method']} for '{detector.settings['class_name']}'",
        "input.image": "float32 [batch, 3, height, width]: RGB from 0 to 1 (bytes divided by 255), upright, of any "
        f"size; resized to {height}x{width} (height x width) and normalised inside",
        "output.score": "float32 [batch], from 0 to 1; higher is more anomalous",
        "output.map": "float32 [batch, height, width], from 0 to 1, at the size of the images",
        "opset": str(OPSET),
        "settings": _text(detector.settings),
        "references": _text(detector.references),
        "features_sha256": detector.features_digest or "",
        "threshold": _text({key: value for key, value in threshold.items() if key != "settings"}),
        "versions": _text({**detector.versions, **versions("torch", *FOR_ONNX)}),
    }  # fmt: skip
    if graph.threshold is not None:
        said["output.decision"] = f"bool [batch], true for anomalous: score above {graph.threshold!r}"
    return said


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

"""Writing and running of exported files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dualclip_lightning.predict.export.files import ONNX_SUFFIX
from dualclip_lightning.predict.export.graph import DecisionGraph
from dualclip_lightning.predict.export.provenance import INPUT, output_names
from dualclip_lightning.utilities.extras import OPSET
from dualclip_lightning.utilities.memory import rare_collections

Array = npt.NDArray[Any]
Runner = Callable[[Array], list[Array]]
"""Function from images [N, 3, H, W] to the outputs of a file in order."""
SINGLE_PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""Setting of OpenVINO, which otherwise computes in half precision where a processor is faster in it."""
ROOT = "dualclip_lightning"
"""Entry of OpenVINO's runtime information that holds the metadata."""


def write_onnx(graph: DecisionGraph, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a graph as ONNX, with metadata; weights of more than 2 GB go to a file beside it, as ONNX requires."""
    height, width = graph.size
    example = torch.zeros(2, 3, height + 1, width + 2)  # a size of 1, or sizes that are equal, would become fixed
    names = ("batch", None, "height", "width")
    dynamic = {axis: torch.export.Dim(name) for axis, name in enumerate(names) if name}
    with _quiet(), rare_collections(), torch.no_grad():
        program = torch.onnx.export(
            graph, (example,), dynamo=True, opset_version=OPSET, verbose=False, input_names=[INPUT],
            output_names=output_names(graph), dynamic_shapes={INPUT: dynamic},
        )  # fmt: skip
    shape: Any = program and program.model.graph.inputs[0].shape
    if program is None or any(isinstance(shape[axis], int) for axis in dynamic):
        msg = "torch.onnx.export did not make a graph for images of any number and size. Please report this."
        raise RuntimeError(msg)
    program.model.metadata_props.update(metadata)
    program.save(path)


def write_openvino(onnx: Path, path: Path, metadata: Mapping[str, str]) -> None:
    """Convert a file of ONNX to OpenVINO, in single precision."""
    import openvino  # noqa: PLC0415 - an extra

    model = openvino.Core().read_model(onnx)
    for name, text in metadata.items():
        model.set_rt_info(text, [ROOT, name])
    openvino.save_model(model, path, compress_to_fp16=False)


def load(path: Path) -> Runner:
    """Load a file of either format for the CPU."""
    return _onnxruntime(path) if path.suffix == ONNX_SUFFIX else _openvino(path)


def largest_difference(graph: DecisionGraph, run: Runner) -> float:
    """Return the largest difference of scores and maps from PyTorch, for one and for three random images."""
    generator, (height, width) = np.random.default_rng(0), graph.size
    shapes = ((1, 3, height, width), (3, 3, height + 11, width // 2 + 3))
    return max(_difference(graph, run, generator.random(shape, dtype=np.float32)) for shape in shapes)


def _difference(graph: DecisionGraph, run: Runner, images: Array) -> float:
    with torch.no_grad():
        expected = graph(torch.from_numpy(images))
    pairs = list(zip(expected, run(images), strict=True))[:2]  # decisions follow from scores
    return max(float(np.abs(own.numpy() - found).max()) for own, found in pairs)


def _onnxruntime(path: Path) -> Runner:
    import onnxruntime  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})


def _openvino(path: Path) -> Runner:
    import openvino  # noqa: PLC0415 - an extra

    compiled = openvino.Core().compile_model(path, "CPU", SINGLE_PRECISION)
    return lambda images: list(_outputs(compiled(images), compiled.outputs))


def _outputs(found: Any, outputs: Sequence[Any]) -> Iterator[Array]:
    return (found[output] for output in outputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about its own steps."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

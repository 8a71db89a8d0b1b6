"""Export of a detector: its graph, written, checked against PyTorch, and only then given its name."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dualclip_lightning.predict.bundle.file import Bundle
from dualclip_lightning.predict.export.files import ONNX_SUFFIX, check_target
from dualclip_lightning.predict.export.graph import DecisionGraph
from dualclip_lightning.predict.export.provenance import describe, output_names
from dualclip_lightning.predict.export.runtimes import largest_difference, load, write_onnx, write_openvino
from dualclip_lightning.utilities.files import check_free

MOST_DIFFERENCE = 1e-4
"""Largest difference from PyTorch with which a file is written."""


class Exported(NamedTuple):
    """Result of an export."""

    files: tuple[Path, ...]
    """The files, that of the graph first."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    difference: float
    """Largest difference of scores and maps from PyTorch, for random images."""


def export_graph(graph: DecisionGraph, detector: Bundle, path: Path, *, overwrite: bool = False) -> Exported:
    """Write a graph in the format of the suffix, completely or not at all.

    Args:
        graph: graph of the detector.
        detector: content of its bundle, for the metadata.
        path: file to write.
        overwrite: whether existing files are replaced.

    Raises:
        ValueError, ImportError or FileExistsError: Same as `check_target`.
        RuntimeError: If the file differs from PyTorch.
        OSError: If it cannot be written.
    """
    check_target(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
        written = _write(graph, detector, Path(place), path)
        difference = largest_difference(graph, load(written))
        if not difference <= MOST_DIFFERENCE:
            msg = f"The exported file differs from PyTorch by up to {difference:.1e}, so it was not kept. "
            raise RuntimeError(msg + "Please report this, with the output of 'dualclip doctor'.")
        files = _move(written.parent, path, overwrite=overwrite)
    return Exported(files, output_names(graph), difference)


def _write(graph: DecisionGraph, detector: Bundle, place: Path, path: Path) -> Path:
    """Write the files into a folder of their own, and return that of the graph."""
    metadata = describe(graph, detector)
    (place / "written").mkdir()
    written = place / "written" / path.name
    if path.suffix == ONNX_SUFFIX:
        write_onnx(graph, written, metadata)
    else:
        write_onnx(graph, place / "graph.onnx", metadata)
        write_openvino(place / "graph.onnx", written, metadata)
    return written


def _move(folder: Path, path: Path, *, overwrite: bool) -> tuple[Path, ...]:
    """Move the files beside each other to their places, that of the graph last, and return these."""
    names = sorted((each.name for each in folder.iterdir()), key=lambda name: name == path.name)
    targets = [path.with_name(name) for name in names]
    for target in targets:
        check_free(target, overwrite=overwrite)
    for name, target in zip(names, targets, strict=True):
        (folder / name).replace(target)
    return tuple(targets[::-1])

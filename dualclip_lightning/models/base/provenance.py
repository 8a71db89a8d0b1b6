"""The record of what determines the scores of a method, and its file next to the results of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualclip_lightning.metrics import describe_evaluator
from dualclip_lightning.models.base.run_folder import RECORD
from dualclip_lightning.utilities.files import files_digest, write_bytes_atomically
from dualclip_lightning.utilities.versions import ADAPTATION, ENGINE, SCORING, versions

logger = logging.getLogger(__name__)

LIBRARIES = (*SCORING, *ADAPTATION, *ENGINE)
"""Packages whose versions are recorded."""


def method_provenance(method: Any, reference_files: Iterable[str] = ()) -> dict[str, Any]:
    """Return what determines the scores of a method, as plain data.

    Args:
        method: a `ZeroShotShell`.
        reference_files: paths of the external references, whose contents are recorded by a digest.
    """
    files = {f"{place}: {Path(name).name}": Path(name) for place, name in enumerate(reference_files)}
    references = {"references": {"images": list(files), "sha256": files_digest(files)}} if files else {}
    backbone = method.backbone
    return references | {
        "method": type(method).__name__,
        "kind": str(method.kind),
        "class_name": method.described_class,
        **backbone.identity(),
        "weights_origin": dict(backbone.origin),
        "transform": str(getattr(method.pre_processor, "transform", None)),
        "drawing": asdict(method.model.drawing),
        # Weights may have their own architecture, which replaces the given one.
        "parameters": plain(method.hparams) | {"backbone": backbone.name},
        "evaluation": describe_evaluator(method.evaluator),
        "versions": versions(*LIBRARIES),
    }


def write_provenance(method: Any) -> None:
    """Write the provenance of a method, and of its run, as `provenance.json` into the folder of the run."""
    trainer = method.trainer
    if trainer.is_global_zero:
        run = {"device": str(method.device), "devices": trainer.world_size, "precision": str(trainer.precision)}
        folder = Path(trainer.default_root_dir).resolve()
        write_bytes_atomically(folder / RECORD, json.dumps(method.provenance() | run, indent=2).encode())
        logger.info("Results: %s", folder)


def plain(value: Any) -> Any:
    """Convert a value to plain data for JSON and YAML."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

"""Construction of methods: ours from the registry, or a model of anomalib that is trained first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from anomalib.models.components.base import AnomalibModule
from anomalib.post_processing import PostProcessor

from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.benchmark.plan import catalogue
from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.config import ConfigError
from dualclip_lightning.images.masks import check_rule
from dualclip_lightning.metrics import ZeroShotEvaluator, default_evaluator
from dualclip_lightning.models.base import Kind


def build_method(cell: Cell) -> AnomalibModule:
    """Build the method of a cell with its arguments and seed.

    Raises:
        ValueError: the method's constructor refuses an argument.
    """
    owner = catalogue.method_class(cell.model)
    if cell.model in catalogue.TRAINED:
        return owner(**_trained_arguments(owner, cell))
    named = {} if cell.class_name is None else {"class_name": cell.class_name}
    return owner(**{**named, **cell.arguments}, seed=cell.seed, visualizer=False, evaluator=build_evaluator(cell))


def build_evaluator(cell: Cell) -> ZeroShotEvaluator:
    """Build the evaluator of a cell, which is the same for every method."""
    asked = {name: value for name, value in cell.evaluation.items() if name != "threshold"}
    return default_evaluator(masks=check_rule(cell.masks), seed=cell.seed, **asked)


def describe_method(model: Any, cell: Cell) -> dict[str, Any]:
    """Return kind and provenance of a method, by column of the results; ours also have all of it under "provenance"."""
    if cell.model not in catalogue.TRAINED:
        found = model.provenance()
        wanted = ("kind", "backbone", "weights", "weights_sha256", "transform")
        origin = json.dumps(found["weights_origin"])
        trained = {
            name: found[name]
            for name in ("trained_on", "layers_sha256", "references", "textures_sha256")
            if name in found
        }
        parameters = json.dumps(found["parameters"] | trained)
        columns = {**{name: found[name] for name in wanted}, "weights_origin": origin, "parameters": parameters}
        return columns | {"provenance": found}
    arguments = catalogue.method_arguments(cell.model) | dict(cell.arguments)
    return {
        "kind": str(Kind.FULL_SHOT),
        "backbone": arguments["backbone"],
        "weights": "timm, pre-trained" if arguments["pre_trained"] else "random",
        "weights_sha256": weights_digest(model.model.feature_extractor),
        "weights_origin": json.dumps({"timm": arguments["backbone"]} if arguments["pre_trained"] else {}),
        "transform": str(model.pre_processor.transform),
        "parameters": json.dumps(arguments | {"seed": cell.seed}, default=str),
    }


def rehearse(cells: Iterable[Cell]) -> None:
    """Build every method once with each of its arguments, so that invalid arguments are refused before anything runs.

    Missing weights are not refused here; they fail the cells that need them.

    Raises:
        ConfigError: constructors refuse arguments; the message has one line per method.
    """
    different = {(cell.method, json.dumps(dict(cell.arguments), default=str)): cell for cell in cells}
    refused = [refusal for cell in different.values() if (refusal := _refusal(cell))]
    if refused:
        raise ConfigError("\n".join(dict.fromkeys(refused)))


def _refusal(cell: Cell) -> str | None:
    """Return the constructor's error about the arguments; None if it accepts them or fails for another reason."""
    try:
        _check_checkpoint(build_method(cell), cell.checkpoint)
    except (TypeError, ValueError) as error:
        # Some errors of downloads are both ValueError and OSError.
        return None if isinstance(error, OSError) else f"methods.{cell.method}: {error}"
    except Exception:  # noqa: BLE001  # it is recorded with every cell of the method
        return None
    return None


def _check_checkpoint(model: Any, checkpoint: str | None) -> None:
    """Check that a checkpoint is given exactly for methods with trained layers."""
    needed = Kind.AUXILIARY in getattr(model, "kind", Kind.FULL_SHOT)
    if needed and (checkpoint is None or not Path(checkpoint).expanduser().is_file()):
        msg = (
            "its layers are trained on other, labelled data. Expected `checkpoint` to name the file that "
            f"`anomalib train` left of it, but got {checkpoint!r}."
        )
        raise ValueError(msg)
    if checkpoint is not None and not needed:
        msg = "it has no trained layers. Take `checkpoint` out."
        raise ValueError(msg)


def _trained_arguments(owner: Any, cell: Cell) -> dict[str, Any]:
    """Return the arguments of a model of anomalib with our evaluator and without thresholds from labels."""
    given = dict(cell.arguments)
    size = given.pop("image_size", None)
    if isinstance(size, int):
        size = (size, size)
    return given | {
        "pre_processor": owner.configure_pre_processor(image_size=tuple(size) if size else None),
        "post_processor": PostProcessor(enable_normalization=False, enable_thresholding=False),
        "evaluator": build_evaluator(cell),
        "visualizer": False,
    }

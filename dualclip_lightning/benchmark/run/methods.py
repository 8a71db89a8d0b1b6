"""Construction of methods, whatever their class, and what their results say of them."""

from __future__ import annotations

import json
from typing import Any

from anomalib import LearningType
from anomalib.models.components.base import AnomalibModule
from anomalib.post_processing import PostProcessor

from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.benchmark.plan.cells import Cell
from dualclip_lightning.benchmark.plan.methods import accepts, method_arguments, method_class, sizes_preprocessing
from dualclip_lightning.images.masks import check_rule
from dualclip_lightning.metrics import ZeroShotEvaluator, default_evaluator
from dualclip_lightning.models.base import Kind, parse_kind

LEARNT_FROM = {
    LearningType.ZERO_SHOT: Kind.INDUCTIVE,
    LearningType.FEW_SHOT: Kind.FEW_SHOT,
    LearningType.ONE_CLASS: Kind.FULL_SHOT,
}


def build_method(cell: Cell) -> AnomalibModule:
    """Build the method of a cell with its arguments and seed.

    A class gets the seed and the class name if its constructor accepts them. Evaluator, post-processor and visualizer
    are set afterwards where the constructor does not accept them.

    Raises:
        ValueError: the method's constructor refuses an argument.
    """
    owner = method_class(cell.model)
    given = {"class_name": cell.class_name} if cell.class_name is not None else {}
    given = {name: value for name, value in given.items() if accepts(owner, name)} | dict(cell.arguments)
    if sizes_preprocessing(owner) and (size := given.pop("image_size", None)) is not None:
        given["pre_processor"] = owner.configure_pre_processor(
            image_size=(size, size) if isinstance(size, int) else tuple(size)
        )
    set_by_the_run = {"seed": cell.seed, "visualizer": False, "evaluator": build_evaluator(cell)}
    model = owner(**given, **{name: value for name, value in set_by_the_run.items() if accepts(owner, name)})
    model.visualizer = None
    if model.evaluator is not set_by_the_run["evaluator"]:
        model.evaluator = set_by_the_run["evaluator"]
    if isinstance(model.post_processor, PostProcessor):  # its thresholds and its normalisation come from labels
        model.post_processor.enable_normalization = model.post_processor.enable_thresholding = False
    return model


def build_evaluator(cell: Cell) -> ZeroShotEvaluator:
    """Build the evaluator of a cell, which is the same for every method."""
    asked = {name: value for name, value in cell.evaluation.items() if name != "threshold"}
    return default_evaluator(masks=check_rule(cell.masks), seed=cell.seed, **asked)


def own_kind(model: Any) -> Kind | None:
    """Return the kind that a class states, as a `Kind` or by its name; None if it states none.

    Raises:
        ValueError: there is no such kind.
    """
    stated = getattr(model, "kind", None)
    return parse_kind(stated) if isinstance(stated, str) else stated if isinstance(stated, Kind) else None


def kind_of(model: Any, cell: Cell) -> Kind:
    """Return what the scores of a method depend on: as its class, the configuration or its learning type says.

    Raises:
        ValueError: there is no such kind.
    """
    kind = own_kind(model)
    if kind is None:
        kind = parse_kind(cell.kind) if cell.kind else LEARNT_FROM[model.learning_type]
    return kind & ~Kind.FULL_SHOT | Kind.FEW_SHOT if cell.k_shot else kind


def is_trained(model: Any) -> bool:
    """Return whether a method is trained on the normal images of each category before it is tested.

    anomalib's learning type decides. Auxiliary methods are trained on other data.
    """
    auxiliary = Kind.AUXILIARY in (own_kind(model) or Kind.INDUCTIVE)
    return model.learning_type == LearningType.ONE_CLASS and not auxiliary


def describe_method(model: Any, cell: Cell) -> dict[str, Any]:
    """Return kind and provenance of a method, by column of the results.

    Methods of this package, and others on its shell, describe themselves; their row has all of it under "provenance".
    """
    kind = {"kind": str(kind_of(model, cell))}
    if not callable(getattr(model, "provenance", None)):
        return kind | _describe_other(model, cell)
    found = model.provenance()
    wanted = ("backbone", "weights", "weights_sha256", "transform")
    origin = json.dumps(found["weights_origin"])
    trained = {
        name: found[name] for name in ("trained_on", "layers_sha256", "references", "textures_sha256") if name in found
    }
    parameters = json.dumps(found["parameters"] | trained)
    columns = {**{name: found[name] for name in wanted}, "weights_origin": origin, "parameters": parameters}
    return kind | columns | {"provenance": found}


def _describe_other(model: Any, cell: Cell) -> dict[str, Any]:
    """Return backbone, weights and parameters as far as the arguments tell; the digest is that of frozen features."""
    arguments = method_arguments(cell.model) | dict(cell.arguments)
    settings = {"k_shot": cell.k_shot, "trainer": dict(cell.trainer), "train_batch_size": cell.train_batch_size}
    backbone, pre_trained = arguments.get("backbone"), arguments.get("pre_trained")
    extractor = getattr(getattr(model, "model", None), "feature_extractor", None)
    known = backbone is not None and pre_trained is not None
    return {
        "backbone": None if backbone is None else str(backbone),
        "weights": ("timm, pre-trained" if pre_trained else "random") if known else None,
        "weights_sha256": None if extractor is None else weights_digest(extractor),
        "weights_origin": json.dumps({"timm": backbone} if known and pre_trained else {}, default=str),
        "transform": str(getattr(model.pre_processor, "transform", None)),
        "parameters": json.dumps(
            arguments | {"seed": cell.seed} | {name: value for name, value in settings.items() if value}, default=str
        ),
    }

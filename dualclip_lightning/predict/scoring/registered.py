"""Any other method of the registry for a detector, built by its Lightning class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.predict.input.method_reader import MethodReader
from dualclip_lightning.predict.limits import METHOD
from dualclip_lightning.predict.names import ELSEWHERE, check_arguments
from dualclip_lightning.predict.scoring.checks import choose_device
from dualclip_lightning.predict.scoring.drawer import Drawer
from dualclip_lightning.predict.scoring.method import Common, Method
from dualclip_lightning.predict.scoring.scorer import MethodScorer
from dualclip_lightning.registry import MODELS
from dualclip_lightning.scoring import DRAWINGS

UNFIT: Mapping[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("MuSc", "num_references"): (
        lambda count: count is None,
        """MuSc compares all images of a set, of which a detector has only some. Set num_references to 1 for MuSc-2,
        which compares pairs, or use 'dualclip test' or 'dualclip benchmark'.""",
    ),
    ("AnoCLIP", "carry_optimizer"): (
        bool,
        """With carry_optimizer, the maps of AnoCLIP depend on the order of all images of a run. Leave it out.""",
    ),
    ("ClipAD", "normalize_scores"): (
        bool,
        """With normalize_scores, the scores of ClipAD depend on all images of a set. Leave it out, or use
        'dualclip test' or 'dualclip benchmark'.""",
    ),
    ("WindowCLIP", "k_shot"): (
        bool,
        """With k_shot, WindowCLIP compares with images that are known to be normal. Leave it out, or use DualImageCLIP
        with reference_dir, whose images need no label.""",
    ),
}
"""Arguments with which a method cannot score the images of a detector, with messages that say what to do instead."""


def registered_method(name: str, common: Common, arguments: Mapping[str, Any]) -> Method:
    """Build a method with its arguments.

    Raises:
        ValueError: Same as `build_method`.
        dualclip_lightning.backbone.WeightsError: If the weights cannot be obtained.
    """
    from dualclip_lightning.models.base import Kind  # noqa: PLC0415 - imports anomalib, which METHOD does not need

    method_class = getattr(import_module(MODELS[name]), name)
    parameters = signature(method_class).parameters
    check_arguments(name, arguments, [key for key in parameters if key not in _told(common)])
    if common.references is not None and "num_references" in parameters:
        arguments = {"num_references": common.references, **arguments}
    _refuse_unfit(name, {key: parameter.default for key, parameter in parameters.items()} | dict(arguments))
    if common.spatial_window is not None:
        msg = f"{name} has no spatial_window, which only {METHOD} has. Leave it out."
        raise ValueError(msg)
    told = {key: value for key, value in _told(common).items() if value is not None}
    method = method_class(**told, **arguments, post_processor=False, evaluator=False, visualizer=False).eval()
    _load_layers(method, common.checkpoint)
    if method.kind & (Kind.TRANSDUCTIVE | Kind.FEW_SHOT):
        msg = f"{name} is {method.kind}, and a detector has only the image and its references. Use {METHOD}."
        raise ValueError(msg)
    compares = Kind.PAIR in method.kind
    if compares and common.geometry.mode != "squash":
        msg = f"{name} compares images of one size. Set geometry to 'squash'."
        raise ValueError(msg)
    device = choose_device(common.device)
    method.set_class_name(common.class_name)
    method.model.to(device)
    clip = method.backbone
    prepared = clip.preprocessing.at_size(common.image_size)
    height, width = clip.visual.patch_size
    named = getattr(method.references, "named", False)
    return Method(
        name, compares, clip, prepared, device,
        MethodReader(
            method.model, prepared, (height, width), common.geometry, common.batch_size, compares=compares, named=named
        ),
        MethodScorer(method.model, compares=compares),
        Drawer(DRAWINGS["winclip"], (1, 1)),  # its maps are already drawn; they are only resized
        {"seed": common.seed, "arguments": _own_arguments(method), **_trained_layers(method),
         "drawing": asdict(method.drawing), "prompts": common.prompts},
        method.unexportable(),
    )  # fmt: skip


def _told(common: Common) -> dict[str, Any]:
    """Return the common settings as arguments of a method's class."""
    names = ("class_name", "backbone", "pretrained", "preprocessing", "image_size", "seed")
    return {name: getattr(common, name) for name in names} | common.prompts


def _refuse_unfit(name: str, values: Mapping[str, Any]) -> None:
    for (method, argument), (unfit, sentence) in UNFIT.items():
        if method == name and unfit(values[argument]):
            raise ValueError(" ".join(sentence.split()))


def _load_layers(method: Any, checkpoint: str | Path | None) -> None:
    """Load the trained layers of a method from a checkpoint, which does not contain the frozen weights.

    Raises:
        ValueError: If the checkpoint cannot be read or does not fit, is not needed, or is missing where one is needed.
    """
    name, trains = type(method).__name__, getattr(method, "training_settings", None) is not None
    if checkpoint is None and trains:
        msg = (
            f"The layers of {name} are trained as it is set, and are in no weights. Give checkpoint, a file that "
            f"'dualclip train --model {name}' wrote, or use {METHOD}, which is not trained."
        )
        raise ValueError(msg)
    if checkpoint is None:
        return
    if not trains:
        msg = f"{name} has no layers that are trained as it is set, and takes no checkpoint. Leave it out."
        raise ValueError(msg)
    prefix = "model.trained_layers."
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        layers = {key.removeprefix(prefix): value for key, value in content["state_dict"].items() if prefix in key}
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"Cannot read a checkpoint from '{checkpoint}' ({reason}). Give a file that training wrote."
        raise ValueError(msg) from error
    method.on_load_checkpoint(content)
    method.model.trained_layers.load_state_dict(layers)


def _trained_layers(method: Any) -> dict[str, Any]:
    layers = getattr(method.model, "trained_layers", None)
    return {} if layers is None else {"layers_sha256": weights_digest(layers)}


def _own_arguments(method: Any) -> dict[str, Any]:
    """Return the arguments that a method has besides those of all methods, as plain data."""
    from dualclip_lightning.models.base import ZeroShotShell  # noqa: PLC0415 - takes seconds
    from dualclip_lightning.models.base.provenance import plain  # noqa: PLC0415

    common = signature(ZeroShotShell).parameters.keys() | ELSEWHERE
    return {name: plain(method.hparams[name]) for name in signature(type(method)).parameters if name not in common}

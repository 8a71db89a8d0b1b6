"""Models and datamodules that this package adds to anomalib, one line for each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# class name -> the module that defines it
MODELS = {
    "AnoCLIP": "dualclip_lightning.models.anoclip",
    "ClipAD": "dualclip_lightning.models.clip_ad",
    "ClipZeroShot": "dualclip_lightning.models.clip_zero_shot",
    "DualImageCLIP": "dualclip_lightning.models.dual_image_clip",
    "MuSc": "dualclip_lightning.models.musc",
    "PatchMemory": "dualclip_lightning.models.memory.patch_memory",
    "SubspaceAD": "dualclip_lightning.models.memory.subspace_ad",
    "WindowCLIP": "dualclip_lightning.models.winclip",
}
# anomalib ignores the case of names, and has its own WinClip.
FORMER_NAMES = {"WinCLIP": "WindowCLIP"}
"""Former names of models, which Python and our own commands still accept; anomalib's commands do not."""
DATAMODULES = {"MVTec": "dualclip_lightning.data.mvtec", "Demo": "dualclip_lightning.demo.data.datamodule",
               "Folders": "dualclip_lightning.data.folders"}  # fmt: skip


def current_name(model: str) -> str:
    """Return the current name of a model; other names are unchanged."""
    return next((now for before, now in FORMER_NAMES.items() if before == model), model)


def first_name(model: str) -> str:
    """Return the first name of a model, which is part of the keys of recorded results."""
    return next((before for before, now in FORMER_NAMES.items() if now == model), model)


def register() -> None:
    """Make anomalib find every model and datamodule of this package by its short name.

    anomalib looks names up in two ways: jsonargparse searches the subclasses that have been imported, while
    ``get_model``, ``get_datamodule`` and the benchmark read attributes of ``anomalib.models`` and ``anomalib.data``.
    Names that anomalib already has keep their meaning. Repeated calls have no effect.
    """
    _offer(MODELS, host="anomalib.models")
    _offer(DATAMODULES, host="anomalib.data")


def _offer(classes: Mapping[str, str], host: str) -> None:
    target = import_module(host)
    missing = {name: home for name, home in classes.items() if not hasattr(target, name)}
    if missing:
        # Attributes are resolved on access: the module of a class may be only partly imported now, if its import is
        # what imported anomalib.
        vars(target)["__getattr__"] = _lazy_attributes(host, missing, vars(target).get("__getattr__"))
    for home in missing.values():
        import_module(home)


def _lazy_attributes(module: str, classes: Mapping[str, str], otherwise: Any) -> Any:
    def lookup(name: str) -> Any:
        if name in classes:
            return getattr(import_module(classes[name]), name)
        if otherwise is not None:
            return otherwise(name)
        message = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(message)

    return lookup

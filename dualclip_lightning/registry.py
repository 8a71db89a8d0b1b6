"""What this package adds to anomalib: a new model or datamodule is one more line here."""

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
    "WindowCLIP": "dualclip_lightning.models.winclip",
}
# anomalib ignores the case of names, and has a WinClip of its own.
FORMER_NAMES = {"WinCLIP": "WindowCLIP"}
"""Earlier names of models, which Python and our own commands still take; anomalib's commands do not."""
DATAMODULES = {"MVTec": "dualclip_lightning.data.mvtec", "Demo": "dualclip_lightning.data.demo",
               "Folders": "dualclip_lightning.data.folders"}  # fmt: skip


def current_name(model: str) -> str:
    """Return what a model is called now; any other name stays."""
    return next((now for before, now in FORMER_NAMES.items() if before == model), model)


def first_name(model: str) -> str:
    """Return what a model was called at first, which is part of the keys of recorded results."""
    return next((before for before, now in FORMER_NAMES.items() if now == model), model)


def register() -> None:
    """Make anomalib find every model and datamodule of this package by its short name.

    anomalib looks names up in two ways: jsonargparse searches the subclasses that have been imported, while
    ``get_model``, ``get_datamodule`` and the benchmark read attributes of ``anomalib.models`` and ``anomalib.data``.
    A name that anomalib already has keeps anomalib's meaning. Calling this again changes nothing.
    """
    _offer(MODELS, host="anomalib.models")
    _offer(DATAMODULES, host="anomalib.data")


def _offer(classes: Mapping[str, str], host: str) -> None:
    target = import_module(host)
    missing = {name: home for name, home in classes.items() if not hasattr(target, name)}
    if missing:
        # Attributes are resolved when asked for: the module of a class may be half imported now, because importing it
        # is what imported anomalib.
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

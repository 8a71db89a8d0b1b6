"""Additions to anomalib's data: the bundled demo, folders of folders, and an older name of MVTec AD."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualclip_lightning.data.folders import Folders
    from dualclip_lightning.data.mvtec import MVTec
    from dualclip_lightning.demo.data.assets import texture_paths
    from dualclip_lightning.demo.data.datamodule import Demo

__all__ = ["Demo", "Folders", "MVTec", "texture_paths"]

_HOMES = {
    "Demo": "dualclip_lightning.demo.data.datamodule", "Folders": "dualclip_lightning.data.folders",
    "MVTec": "dualclip_lightning.data.mvtec", "texture_paths": "dualclip_lightning.demo.data.assets",
}  # fmt: skip


def __getattr__(name: str) -> Any:  # lazily, because anomalib takes seconds to import
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)

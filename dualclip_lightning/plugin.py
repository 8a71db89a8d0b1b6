"""Plug-in that makes our models available to anomalib's own commands: ``anomalib test --model DualImageCLIP``.

anomalib and jsonargparse have no plug-in hook, but ``import torch`` (2.5 and later) calls every entry point of the
group ``torch.backends``. Ours installs a hook that runs once, right after ``anomalib.models`` has been imported, and
then removes itself. Because it runs inside ``import torch``, this module needs only the standard library and never
raises.

``DUALCLIP_NO_PLUGIN=1`` switches it off, as does PyTorch's own ``TORCH_DEVICE_BACKEND_AUTOLOAD=0``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from dualclip_lightning.commandline.host import is_anomalibs, is_ours, print_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

logger = logging.getLogger(__name__)

OFF_SWITCH = "DUALCLIP_NO_PLUGIN"
_HOST = "anomalib.models"
# The last import in the body of anomalib.models (2.7). It replaces the host if torch is imported by
# `import anomalib.models` itself, when a hook on the host would come too late.
_LAST_PART_OF_HOST = "anomalib.models.video"


def autoload() -> None:
    """Register the models in anomalib, now or when it is imported. Entry point of ``torch.backends``."""
    try:
        if os.environ.get(OFF_SWITCH, "0") in {"", "0"}:
            if is_ours():
                print_once()
            _register_when_ready()
    except Exception as error:  # noqa: BLE001  # whatever happens, `import torch` must succeed
        _explain(error)


def _register_when_ready() -> None:
    if _LAST_PART_OF_HOST in sys.modules:
        _register()
        return
    name = _LAST_PART_OF_HOST if _HOST in sys.modules else _HOST
    if not any(isinstance(finder, _PostImportFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PostImportFinder(name, _register))


def _register() -> None:
    try:
        from dualclip_lightning.registry import register  # noqa: PLC0415  # a failure here must not reach torch

        register()
        refusal = _refusal()
    except Exception as error:  # noqa: BLE001  # whatever happens, `import anomalib` must succeed
        _explain(error)
        return
    if refusal is not None:
        print(f"dualclip: {refusal}", file=sys.stderr)
        raise SystemExit(2)  # status for wrong usage; this process is anomalib's command


def _refusal() -> str | None:
    """Return the error in the options of anomalib's command if it names one of our classes, or None."""
    if not is_anomalibs():
        return None
    from dualclip_lightning.commandline.anomalib_arguments import refusals  # noqa: PLC0415  # not for `import torch`

    return next(refusals(sys.argv[1:]), None)


def _explain(error: Exception) -> None:
    # A log record rather than a warning: warnings can be turned into errors.
    logger.warning(
        "dualclip_lightning could not add its models to anomalib (%s: %s). anomalib works without them. "
        "Reinstall dualclip_lightning, or set %s=1 to switch its plug-in off.",
        type(error).__name__,
        error,
        OFF_SWITCH,
    )


class _PostImportFinder(MetaPathFinder):
    """Finder that calls ``action`` once, after the first import of the module ``name``."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name = name
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PostImportLoader(spec.loader, self)
        return spec


class _PostImportLoader(Loader):
    """Loader that works like ``loader``, but then removes itself and ``finder``, and calls the action of ``finder``."""

    def __init__(self, loader: Loader, finder: _PostImportFinder) -> None:
        self.loader = loader
        self.finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        with contextlib.suppress(ValueError):  # another thread may have removed it
            sys.meta_path.remove(self.finder)
        self.finder.action()

"""Checks of the cache folders, the weights on this machine, and the plug-in of anomalib."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from dualclip_lightning.doctor.finding import Finding
from dualclip_lightning.plugin import OFF_SWITCH
from dualclip_lightning.registry import DATAMODULES, MODELS
from dualclip_lightning.utilities.cachedir import cache_dir
from dualclip_lightning.utilities.files import file_digest
from dualclip_lightning.weights import WeightsError

if TYPE_CHECKING:
    from dualclip_lightning.weights.sources import WeightsSource

DEMO_MODEL = Path(__file__).parents[1] / "demo" / "model"
REINSTALL = "reinstall the package: pip install --force-reinstall --no-deps dualclip_lightning"
PYTORCHS_SWITCH = "TORCH_DEVICE_BACKEND_AUTOLOAD"


def check_cache() -> Iterator[Finding]:
    """Yield the cache folder of this package, its size, and whether it can be written to."""
    folder = cache_dir("")
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    mebibytes = round(sum(path.stat().st_size for path in files) / 2**20, 1)
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    facts = {"folder": str(folder), "files": len(files), "mebibytes": mebibytes}
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        held = f"{len(files)} files, {mebibytes} MiB" if folder.is_dir() else "not created yet"
        yield Finding("cache", "ok", f"{folder} ({held})", facts=facts)
    else:
        yield Finding("cache", "problem", f"{folder} cannot be written to.",
                      "Set DUALCLIP_CACHE to a folder that can be written to.", facts)  # fmt: skip


def check_demo_model() -> Iterator[Finding]:
    """Yield the weights of the demo model, which are part of the package, with their SHA-256."""
    path = DEMO_MODEL / "open_clip_model.safetensors"
    if path.is_file():
        yield _found("demo", path)
    else:
        yield Finding("weights", "problem", f"The demo model is missing from {DEMO_MODEL}.", REINSTALL.capitalize())


def check_weights() -> Iterator[Finding]:
    """Yield the weights of open_clip's table that are on this machine, with their SHA-256; nothing is downloaded."""
    from dualclip_lightning.weights.fetching import find, url_path  # noqa: PLC0415 - takes seconds

    seen = set()
    for names, source in _sources():
        fetched = find(source)
        path = fetched.path if fetched else url_path(source) if source.url else None
        if path is None or path in seen or not path.is_file():
            continue
        seen.add(path)
        if fetched:
            yield _found(names, path)
        else:
            yield Finding("weights", "problem", f"{path} is damaged: its SHA-256 is not the one in its name.",
                          "Delete it; it is fetched again when it is needed.", {"path": str(path)})  # fmt: skip
    if not seen:
        yield Finding("weights", "note", "no others are in the caches of open_clip and the hub",
                      "To fetch the default weights: dualclip weights download")  # fmt: skip


def _sources() -> Iterator[tuple[str, WeightsSource]]:
    from dualclip_lightning.weights.sources import entries, source_of  # noqa: PLC0415

    for entry in entries():
        with contextlib.suppress(WeightsError):  # open_clip's table does not say where these are
            yield f"{entry.backbone} {entry.tag}", source_of(entry.backbone, entry.tag)


def _found(names: str, path: Path) -> Finding:
    digest = file_digest(path)
    mebibytes = round(path.stat().st_size / 2**20, 1)
    return Finding("weights", "ok", f"{names}: {mebibytes} MiB, SHA-256 {digest[:12]}, {path}",
                   facts={"names": names, "path": str(path), "sha256": digest, "mebibytes": mebibytes})  # fmt: skip


def check_plugin() -> Iterator[Finding]:
    """Yield whether anomalib's own commands know the models of this package."""
    switches = {name: os.environ.get(name) for name in (OFF_SWITCH, PYTORCHS_SWITCH)}
    off = next((name for name, off in ((OFF_SWITCH, switches[OFF_SWITCH] not in {None, "", "0"}),
                                       (PYTORCHS_SWITCH, switches[PYTORCHS_SWITCH] == "0")) if off), None)  # fmt: skip
    offered = [each.value for each in entry_points(group="torch.backends") if each.name == "dualclip_lightning"]
    facts = {"switches": switches, "entry_points": offered}
    if off:
        yield Finding("plug-in", "note", f"switched off by {off}={switches[off]}; `dualclip` does not need it",
                      f"Unset {off} for anomalib's own commands to know the models.", facts)  # fmt: skip
        return
    missing = [
        name
        for home, names in (("anomalib.models", MODELS), ("anomalib.data", DATAMODULES))
        for name in names
        if not hasattr(import_module(home), name)
    ]
    if missing or not offered:
        lacking = f"anomalib does not know {', '.join(missing)}" if missing else "its entry point is not installed"
        remedy = f"{REINSTALL.capitalize()}. Until then, use `dualclip` instead of `anomalib`."
        yield Finding("plug-in", "problem", f"{lacking}.", remedy, facts)
    else:
        yield Finding("plug-in", "ok", f"anomalib knows {', '.join((*MODELS, *DATAMODULES))}", facts=facts)

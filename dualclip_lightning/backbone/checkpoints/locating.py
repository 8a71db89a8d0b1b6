"""Resolution of names of weights to local files, which are downloaded if needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from dualclip_lightning.backbone.checkpoints import choosing
from dualclip_lightning.backbone.checkpoints.choosing import HUB, LOCAL, RANDOM
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.fetching import fetch
from dualclip_lightning.weights.sources import WeightsSource, source_of

CONFIG_FILE = "open_clip_config.json"
STAND_IN = "'demo' is a small stand-in that this package carries."


@dataclass(frozen=True)
class LocatedWeights:
    """Arguments of open_clip to load weights, and their origin."""

    model: str
    """open_clip's model name: an architecture, or a folder or repository with weights."""
    file: str | None
    """open_clip's `pretrained`: a file of weights, or None."""
    origin: Mapping[str, str]


def locate(source: str, tag: str | None, config: Mapping[str, Any]) -> LocatedWeights:
    """Fetch the weights that `choose` named.

    Args:
        source: architecture, "local-dir:folder" or "hf-hub:owner/name".
        tag: tag or file of an architecture, or "random"; None if `source` brings its weights.
        config: configuration of the architecture that a repository brings.

    Raises:
        WeightsError: the weights are unavailable; the message names the file, its location and the remedy.
    """
    if tag is None:
        return _locate_repository(source, config) if source.startswith(HUB) else _locate_folder(source)
    if tag == RANDOM:
        return LocatedWeights(source, None, {"drawn": "from the seed"})
    if open_clip.get_pretrained_cfg(source, tag):
        return _locate_tag(source, tag)
    return LocatedWeights(source, tag, {"path": tag})


def config_path(source: str) -> Path:
    """Return the local path of the configuration of a folder or repository; in a folder it may be missing.

    Raises:
        WeightsError: it cannot be downloaded.
    """
    if source.startswith(LOCAL):
        return Path(source.removeprefix(LOCAL)) / CONFIG_FILE
    return _fetch_from(source, (CONFIG_FILE,))[0]


def _locate_folder(source: str) -> LocatedWeights:
    folder = Path(source.removeprefix(LOCAL))
    return LocatedWeights(
        source, None, {"path": "dualclip_lightning/demo/model" if folder == choosing.DEMO_FOLDER else str(folder)}
    )


def _locate_tag(backbone: str, tag: str) -> LocatedWeights:
    place = source_of(backbone, tag)
    try:
        fetched = fetch(place)
    except WeightsError as error:
        msg = (
            f"{error} If this machine has no network, run `dualclip weights download {backbone} {tag} --to FOLDER` on "
            f"another, then set `pretrained` (--pretrained) to the file{_with_preprocessing(backbone, tag)}. {STAND_IN}"
        )
        raise WeightsError(msg) from error
    return LocatedWeights(backbone, str(fetched.path), fetched.origin)


def _with_preprocessing(backbone: str, tag: str) -> str:
    """Return the part of the remedy that names the preprocessing for a raw file of a tag."""
    name = preset_of(backbone, tag)
    return f" and `preprocessing` (--preprocessing) to '{name}'" if name else ""


def preset_of(backbone: str, tag: str) -> str | None:
    """Return the name of the preprocessing that open_clip's table states for a tag, or None if it has no name."""
    stated = open_clip.get_pretrained_cfg(backbone, tag)
    names = (name for name, preset in PRESETS.items() if all(stated.get(key) == preset[key] for key in preset))
    return next(names, None)


def _locate_repository(source: str, config: Mapping[str, Any]) -> LocatedWeights:
    """Fetch the weights of a repository; without a tokenizer of the hub, open_clip reads them from the local folder.

    Then it needs no further network access, and a machine without network can use weights that were fetched before.
    """
    path, origin = _fetch_from(source, (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME))
    own_tokenizer = not config.get("text_cfg", {}).get("hf_tokenizer_name")
    whole = own_tokenizer and (path.parent / CONFIG_FILE).is_file()
    return LocatedWeights(f"{LOCAL}{path.parent}" if whole else source, None, origin)


def _fetch_from(source: str, names: tuple[str, ...]) -> tuple[Path, Mapping[str, str]]:
    try:
        fetched = fetch(WeightsSource(source.removeprefix(HUB), names))
    except WeightsError as error:
        msg = (
            f"{error} If this machine has no network, download {CONFIG_FILE} and the weights on another into one "
            f"folder, and set `pretrained` (--pretrained) to that folder. {STAND_IN}"
        )
        raise WeightsError(msg) from error
    return fetched.path, fetched.origin

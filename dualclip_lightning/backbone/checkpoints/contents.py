"""Architecture and preprocessing that weights state, which are known before they are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip

from dualclip_lightning.backbone.checkpoints.archives import Archive, read_archive
from dualclip_lightning.backbone.checkpoints.choosing import (
    RANDOM,
    check_file,
)
from dualclip_lightning.backbone.checkpoints.locating import CONFIG_FILE, config_path
from dualclip_lightning.backbone.encoders.unsupported import check_vision
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.fetching import first_line
from dualclip_lightning.weights.known import recognise


@dataclass(frozen=True)
class Contents:
    """Properties of weights that are known before they are fetched."""

    stated: Mapping[str, Any] | None
    """Their preprocessing; {} for OpenAI's, None if they do not state it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Architecture of a folder or repository."""
    archive: Archive | None = None


def read_contents(source: str, tag: str | None) -> Contents:
    """Read the stated properties of weights, and check that they can be used."""
    if tag is None:
        config = _read_config(source)
        check_vision(source, config.get("model_cfg", {}))
        return Contents(config.get("preprocess_cfg"), config.get("model_cfg", {}))
    if tag == RANDOM:
        return Contents({})
    stated = open_clip.get_pretrained_cfg(source, tag)
    return Contents(stated) if stated else _file_contents(source, Path(tag))


def _file_contents(backbone: str, path: Path) -> Contents:
    archive = read_archive(path)
    if archive is not None:
        return Contents({} if archive.quick_gelu else None, archive=archive)
    known = recognise(path)
    check_file(backbone, path, known)
    return Contents(open_clip.get_pretrained_cfg(known.backbone, known.tag) if known and known.certain else None)


def _read_config(source: str) -> dict[str, Any]:
    """Read the open_clip_config.json of a folder or a hub repository."""
    try:
        return dict(json.loads(config_path(source).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        msg = (
            f"Cannot read {CONFIG_FILE} of '{source}' ({first_line(error)}). Set `pretrained` (--pretrained) to a "
            "folder or repository that has it beside its weights."
        )
        raise WeightsError(msg) from error

"""Vision models of timm by name: their weights and their preprocessing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from dualclip_lightning.backbone.checkpoints.choosing import DEFAULT_WEIGHTS, HUB, LOCAL, RANDOM
from dualclip_lightning.backbone.checkpoints.digest import weights_digest
from dualclip_lightning.backbone.encoders.stage_tower import timm_tower
from dualclip_lightning.backbone.encoders.timm_tower import TimmTower
from dualclip_lightning.backbone.model import Backbone
from dualclip_lightning.backbone.preprocessing import Preprocessing, PreprocessingChoice, resolve_preprocessing
from dualclip_lightning.utilities.arguments import check_text
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.fetching import Fetched, fetch, first_line
from dualclip_lightning.weights.sources import WeightsSource

TIMM = "timm:"
"""Prefix of the name of a backbone of timm."""
CARRIERS = (HUB, LOCAL)
"""Prefixes of the names of models of timm that bring their configuration."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of files of weights in a repository of timm, in order of preference."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TimmBackbone(Backbone):
    """Vision model of timm in evaluation mode, without gradients and without a text encoder."""

    @property
    def visual(self) -> TimmTower:
        """The vision tower."""
        tower: TimmTower = self.clip  # type: ignore[assignment]
        return tower

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the architecture and of all weights by name, shape and value."""
        return weights_digest(self.clip, repr([type(layer).__name__ for layer in self.clip.modules()]))


def load_timm(backbone: str, pretrained: str, preprocessing: PreprocessingChoice, seed: int) -> Backbone:
    """Load and freeze a vision model of timm.

    Args:
        backbone: "timm:" and a name of timm, with or without a tag ("timm:vit_small_patch14_reg4_dinov2.lvd142m"), or
            "timm:hf-hub:owner/name" or "timm:local-dir:folder".
        pretrained: "random", a file of weights, a tag of timm for the name, or the default of methods, which means the
            weights of the name.
        preprocessing: as in `load_backbone`; None for what timm states for the weights.
        seed: seed of random weights.

    Raises:
        ValueError: the name or tag is unknown, or the maps of the model cannot be read.
        WeightsError: the weights cannot be downloaded, or do not fit.
    """
    check_text("pretrained", pretrained, RANDOM)
    asked = backbone.removeprefix(TIMM)
    chosen = _choose(asked, pretrained)
    tower = timm_tower(_create(chosen.name, chosen.file, pretrained == RANDOM, seed))
    stated = resolve_model_data_config(tower.model)
    prepared = resolve_preprocessing(stated, preprocessing, where=backbone)
    return TimmBackbone(
        clip=tower.eval().requires_grad_(requires_grad=False),
        tokenizer=lambda texts: _refuse(backbone, texts),
        preprocessing=Preprocessing(**_sized(prepared, stated)),
        name=backbone if asked.startswith(CARRIERS) else backbone.partition(".")[0],
        weights=chosen.weights,
        origin=chosen.origin,
    )


class _Chosen(NamedTuple):
    """A model of timm with its weights."""

    name: str
    """timm's name of the model, or a folder."""
    file: str | None
    """File of weights; None if timm finds it or there is none."""
    weights: str
    """"random", a path, a tag, or the repository or folder that brings the weights."""
    origin: Mapping[str, str]


def _choose(name: str, pretrained: str) -> _Chosen:
    if name.startswith(CARRIERS):
        if pretrained not in {DEFAULT_WEIGHTS, RANDOM}:
            msg = f"'{name}' brings its own weights. Leave pretrained (--pretrained) out."
            raise ValueError(msg)
        found = _carried(name)
        return found._replace(weights=RANDOM) if pretrained == RANDOM else found
    _check_known(name)
    if pretrained == RANDOM:
        return _Chosen(name, None, RANDOM, {"drawn": "from the seed"})
    path = Path(pretrained).expanduser()
    if path.is_file():
        return _Chosen(name, str(path), pretrained, {"path": pretrained})
    return _published(name if pretrained == DEFAULT_WEIGHTS else _tagged(name, pretrained))


def _carried(name: str) -> _Chosen:
    """Return a folder, or a repository as a folder on this machine."""
    if name.startswith(LOCAL):
        return _Chosen(name, None, name, {"path": name.removeprefix(LOCAL)})
    repository = name.removeprefix(HUB)
    _fetched(repository, ("config.json",))
    fetched = _fetched(repository, FILES)
    return _Chosen(f"{LOCAL}{fetched.path.parent}", None, name, fetched.origin)


def _check_known(name: str) -> None:
    known = timm.list_models(pretrained=True) + timm.list_models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.0)
        msg = f"Unknown model '{name}' of timm. Did you mean {' or '.join(near)}? timm.list_models() names all."
        raise ValueError(msg)


def _tagged(name: str, tag: str) -> str:
    base = name.partition(".")[0]
    tags = [known.partition(".")[2] for known in timm.list_models(f"{base}.*", pretrained=True)]
    if tag not in tags:
        msg = (
            f"Unknown weights '{tag}' for '{TIMM}{base}'. Its tags are: {', '.join(tags) or 'none'}. A file of weights "
            f"or '{RANDOM}' will do as well."
        )
        raise ValueError(msg)
    return f"{base}.{tag}"


def _published(name: str) -> _Chosen:
    """Return the weights that timm has for a name, downloaded if needed."""
    stated = timm.get_pretrained_cfg(name)
    if not stated or not stated.hf_hub_id:
        msg = f"timm has no weights for '{name}'. Set pretrained (--pretrained) to a file of them, or to '{RANDOM}'."
        raise WeightsError(msg)
    fetched = _fetched(stated.hf_hub_id, (stated.hf_hub_filename,) if stated.hf_hub_filename else FILES)
    return _Chosen(name, str(fetched.path), str(stated.tag), fetched.origin)


def _fetched(repository: str, files: tuple[str, ...]) -> Fetched:
    try:
        return fetch(WeightsSource(repository, files))
    except WeightsError as error:
        msg = (
            f"{error} If this machine has no network, download the file on another, and set `pretrained` "
            "(--pretrained) to it."
        )
        raise WeightsError(msg) from error


def _create(name: str, file: str | None, random: bool, seed: int) -> nn.Module:
    """Return timm's model with its weights."""
    if random:
        logger.warning("Random weights: the scores mean nothing. Use this to measure time and memory only.")
    chosen: dict[str, Any] = {} if file is None else {"pretrained_cfg_overlay": {"file": file}}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return _build(name, pretrained=not random, num_classes=0, **chosen)
    except Exception as error:  # timm and the hub raise many types; the remedy is the same for all
        msg = (
            f"Cannot load the weights of '{TIMM}{name}' ({first_line(error)}). Check the name and the file, or set "
            f"`pretrained` (--pretrained) to a file of weights of this architecture, or to '{RANDOM}'."
        )
        raise WeightsError(msg) from error


def _build(name: str, **arguments: Any) -> nn.Module:
    """Return a model whose position embeddings adapt to the size of the images, if timm supports that."""
    try:
        return timm.create_model(name, dynamic_img_size=True, **arguments)
    except TypeError:  # an architecture without the argument, which only accepts images of its own size
        return timm.create_model(name, **arguments)


def _sized(prepared: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    height, width = stated["input_size"][-2:]
    return {**prepared, "size": (int(height), int(width))}


def _refuse(name: str, texts: list[str]) -> Tensor:
    msg = (
        f"'{name}' has no text encoder for {len(texts)} text(s). Use it for methods without texts, such as MuSc and "
        f"SubspaceAD, or as reference_backbone of DualImageCLIP."
    )
    raise ValueError(msg)

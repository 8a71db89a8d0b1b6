"""Frozen CLIP models by name: whence the weights, what preprocessing they want, what to say if they cannot be had."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.arguments import check_whole
from dualclip_lightning.backbone.digest import weights_digest
from dualclip_lightning.backbone.preprocessing import Preprocessing, PreprocessingChoice, resolve_preprocessing
from dualclip_lightning.backbone.text import encode_texts
from dualclip_lightning.backbone.tower import check_tower, patch_grid

DEMO = "demo"
RANDOM = "random"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"
HUB, LOCAL = "hf-hub:", "local-dir:"
CONFIG_FILE = "open_clip_config.json"

logger = logging.getLogger(__name__)


class WeightsError(RuntimeError):
    """Weights that cannot be had or do not fit; the message names the remedy."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A CLIP model in evaluation mode, without gradients, and what is needed to use and to cite it."""

    clip: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocessing: Preprocessing
    name: str
    """Architecture, or the source that names it."""
    weights: str
    """Weights tag, path, or "demo"."""

    @property
    def visual(self) -> VisionTransformer:
        """The vision tower."""
        return check_tower(self.clip.visual)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all layers by kind and all weights by name, shape and value.

        Backbones with one digest give the same image embeddings; weights alone would not tell GELU from QuickGELU. For
        texts see `text_digest`.
        """
        layers = [(type(layer).__name__, getattr(layer, "num_heads", None)) for layer in self.clip.modules()]
        return weights_digest(self.clip, repr(layers))

    @cached_property
    def text_digest(self) -> str:
        """SHA-256 of what text embeddings depend on: `digest`, the token they are read from, and the tokenizer.

        The tokenizer is known by what it makes of a sentence with capitals, punctuation, a hyphen and a rare word.
        """
        towers = (self.clip, getattr(self.clip, "text", None))
        names = ("text_pool_type", "pool_type", "text_eos_id", "eos_id", "context_length")
        settings = [getattr(tower, name, None) for tower in towers for name in names]
        tokens = self.tokenizer(["A cropped photo of the flawless metal-nut, without any Perlinesque damage."]).tolist()
        return hashlib.sha256(repr((self.digest, settings, tokens)).encode()).hexdigest()

    def encode_text(self, texts: list[str]) -> Tensor:
        """Text embeddings [P, D], not normalised."""
        return encode_texts(self.clip, self.tokenizer, texts)


def load_backbone(
    backbone: str = "ViT-B-16-plus-240",
    pretrained: str = "laion400m_e32",
    preprocessing: PreprocessingChoice = None,
    seed: int = 0,
) -> Backbone:
    """Load and freeze a CLIP model.

    Args:
        backbone: an open_clip architecture, or "hf-hub:owner/name" or "local-dir:folder", which carry their weights.
        pretrained: a weights tag of that architecture; a file of weights; a folder with an open_clip_config.json;
            "demo" for the small model of this package, which brings its own architecture; "random" for weights drawn
            from `seed`, with which scores mean nothing.
        preprocessing: needed only where the weights do not say how images were prepared (see `resolve_preprocessing`).
        seed: for "random" alone.

    Raises:
        ValueError: an unknown architecture or tag, a vision tower without patches and class token, or preprocessing
            that nobody states.
        WeightsError: weights that cannot be downloaded, read or fitted into the architecture.
    """
    source, tag = _resolve_source(backbone, pretrained)
    stated = _stated_preprocessing(source, tag)
    prepared = resolve_preprocessing(stated, preprocessing, where=tag or source)
    clip, tokenizer = _create(source, tag, seed)
    visual = check_tower(clip.visual)
    name, weights = (DEMO, DEMO) if pretrained == DEMO else (source, tag or source)
    return Backbone(
        clip=clip.eval().requires_grad_(requires_grad=False),
        tokenizer=tokenizer,
        preprocessing=Preprocessing(**prepared, size=visual.image_size),
        name=name,
        weights=weights,
    )


def prepare_backbone(
    backbone: str,
    pretrained: str,
    preprocessing: PreprocessingChoice,
    seed: int,
    image_size: int | tuple[int, int] | None,
) -> tuple[Backbone, Preprocessing]:
    """The frozen CLIP model and its preprocessing at the size asked for, checked now rather than at the first image.

    Raises:
        ValueError: as `load_backbone`, a seed that is no whole number, or a size that is not a multiple of the patch.
        WeightsError: weights that cannot be had.
    """
    check_whole("seed", seed)
    clip = load_backbone(backbone, pretrained, preprocessing, seed)
    prepared = clip.preprocessing.at_size(image_size)
    patch_grid(clip.visual, *prepared.size)
    return clip, prepared


def _resolve_source(backbone: str, pretrained: str) -> tuple[str, str | None]:
    """What open_clip calls model name and pretrained; the second is None where the first carries its weights."""
    if pretrained == DEMO:
        return f"{LOCAL}{DEMO_FOLDER}", None
    if pretrained.startswith((HUB, LOCAL)):
        return pretrained, None
    path = Path(pretrained).expanduser()
    named = pretrained == RANDOM or bool(open_clip.get_pretrained_cfg(backbone, pretrained))
    if path.is_dir() and not named:
        return f"{LOCAL}{path}", None
    if backbone.startswith((HUB, LOCAL)):
        return backbone, None
    _check_architecture(backbone)
    if not named and not path.is_file():
        raise _unknown_weights(backbone, pretrained)
    _check_activation(backbone, pretrained)
    return backbone, pretrained if named else str(path)


def _check_architecture(backbone: str) -> None:
    known = {name.lower(): name for name in open_clip.list_models()}
    if backbone not in known.values():
        near = [known[name] for name in get_close_matches(backbone.lower(), known, n=3, cutoff=0.0)]
        msg = f"Unknown backbone '{backbone}'. Did you mean {' or '.join(near)}? open_clip.list_models() names all."
        raise ValueError(msg)
    _check_vision(backbone, open_clip.get_model_config(backbone) or {})


def _check_vision(backbone: str, config: dict[str, Any]) -> None:
    """Refuse a tower without patches and class token before its weights are downloaded."""
    vision = config.get("vision_cfg")
    if not vision:  # an incomplete configuration, of which open_clip says more
        return
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        msg = (
            f"Backbone '{backbone}' has no plain vision transformer, whose patch tokens this method needs. "
            "Choose one such as ViT-B-16-plus-240, ViT-B-16 or ViT-L-14-336."
        )
        raise ValueError(msg)


def _check_activation(backbone: str, pretrained: str) -> None:
    """Weights give wrong embeddings under another activation than their own, of which open_clip only warns."""
    weights = open_clip.get_pretrained_cfg(backbone, pretrained)
    architecture = open_clip.get_model_config(backbone) or {}
    if weights and weights.get("quick_gelu", False) != architecture.get("quick_gelu", False):
        other = backbone.removesuffix("-quickgelu") if backbone.endswith("-quickgelu") else f"{backbone}-quickgelu"
        msg = f"The weights '{pretrained}' were trained with the other activation. Set backbone='{other}' for them."
        raise ValueError(msg)


def _unknown_weights(backbone: str, pretrained: str) -> Exception:
    tags = open_clip.list_pretrained_tags_by_model(backbone)
    if "/" in pretrained or pretrained.endswith((".pt", ".pth", ".bin", ".safetensors")):
        msg = f"There is no weights file or folder '{pretrained}'. Check the path; weights tags are {', '.join(tags)}."
        return WeightsError(msg)
    msg = (
        f"Unknown weights '{pretrained}' for backbone '{backbone}'. Its tags are: {', '.join(tags) or 'none'}. "
        "A weights file, a folder, 'hf-hub:owner/name' or 'demo' will do as well."
    )
    return ValueError(msg)


def _stated_preprocessing(source: str, tag: str | None) -> dict[str, Any] | None:
    """What the weights say of their preprocessing, or None. A raw weights file says nothing."""
    if source.startswith((HUB, LOCAL)):
        config = _read_config(source)
        _check_vision(source, config.get("model_cfg", {}))
        return config.get("preprocess_cfg")
    stated = open_clip.get_pretrained_cfg(source, tag) if tag else None
    if stated:
        return stated
    return {} if tag == RANDOM else None


def _read_config(source: str) -> dict[str, Any]:
    """The open_clip_config.json of a folder or a hub repository."""
    try:
        if source.startswith(LOCAL):
            path = Path(source.removeprefix(LOCAL)) / CONFIG_FILE
        else:
            from huggingface_hub import hf_hub_download  # noqa: PLC0415 - only hub names need it

            path = Path(hf_hub_download(source.removeprefix(HUB), CONFIG_FILE))
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except Exception as error:
        msg = f"Cannot read {CONFIG_FILE} of '{source}' ({_first_line(error)}). {_remedy(source)}"
        raise WeightsError(msg) from error


def _create(source: str, tag: str | None, seed: int) -> tuple[nn.Module, Callable[[list[str]], Tensor]]:
    """Model and tokenizer. open_clip draws all weights before it reads any; the caller's generator is not to notice."""
    random = tag == RANDOM
    if random:
        logger.warning("Random weights: the scores mean nothing. Use this to measure time and memory only.")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            clip = open_clip.create_model(
                source, pretrained=None if random else tag, require_pretrained=not random, pretrained_text=False
            )
        return clip, open_clip.get_tokenizer(source)
    except Exception as error:  # open_clip and the hub raise many kinds; the remedy is the same for all
        msg = (
            f"Cannot load the weights '{tag or source}' of '{source}' ({_first_line(error)}). {_remedy(tag or source)}"
        )
        raise WeightsError(msg) from error


def _remedy(wanted: str) -> str:
    if Path(wanted.removeprefix(LOCAL)).exists():
        return "Check that the file is complete and that `backbone` names the architecture it was saved from."
    return (
        "If this machine has no network, download the weights elsewhere and set `pretrained` to the file or folder; "
        "'demo' is a small stand-in that this package carries."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no further message'}"

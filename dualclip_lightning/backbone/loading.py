"""Loading of frozen CLIP models by name, with their weights and preprocessing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn

from dualclip_lightning.backbone.checkpoints.archives import Archive, build
from dualclip_lightning.backbone.checkpoints.choosing import (
    DEFAULT_BACKBONE,
    DEMO,
    LOCAL,
    QUICK,
    RANDOM,
    choose,
)
from dualclip_lightning.backbone.checkpoints.contents import read_contents
from dualclip_lightning.backbone.checkpoints.locating import CONFIG_FILE, LocatedWeights, locate
from dualclip_lightning.backbone.encoders.tower import check_tower, patch_grid
from dualclip_lightning.backbone.model import Backbone
from dualclip_lightning.backbone.preprocessing import Preprocessing, PreprocessingChoice, resolve_preprocessing
from dualclip_lightning.backbone.stem import STEM_CONFIG, load_with_stem
from dualclip_lightning.backbone.timm_weights import TIMM, load_timm
from dualclip_lightning.utilities.arguments import check_whole
from dualclip_lightning.weights import WeightsError
from dualclip_lightning.weights.fetching import first_line

logger = logging.getLogger(__name__)


def load_backbone(
    backbone: str = "ViT-B-16-plus-240",
    pretrained: str = "laion400m_e32",
    preprocessing: PreprocessingChoice = None,
    seed: int = 0,
) -> Backbone:
    """Load and freeze a CLIP model.

    Args:
        backbone: an open_clip architecture; or "hf-hub:owner/name" or "local-dir:folder", which bring their weights;
            or "timm:" and a vision model of timm for methods without texts (`load_timm`).
            A raw state dict does not state the activation it was trained with; the architecture determines it:
            QuickGELU if its name ends in "-quickgelu", else GELU. For a tag, either name works.
        pretrained: a tag of weights for that architecture; a file of weights; a folder with an open_clip_config.json;
            "demo" for the small model of this package; "random" for weights drawn from `seed`, whose scores are
            meaningless. Folders, "demo" and OpenAI's TorchScript archives bring their own architecture.
        preprocessing: required only if the weights do not state it (see `resolve_preprocessing`).
        seed: seed of "random" weights.

    Raises:
        ValueError: the architecture or tag is unknown, the vision tower has no patches and class token, the file is
            known to be trained with the other activation, the preprocessing is unknown, or torch's default precision
            is not single.
        WeightsError: the weights cannot be downloaded or read, or do not fit the architecture.
    """
    if torch.get_default_dtype() != torch.float32:
        msg = (
            f"torch's default dtype is {torch.get_default_dtype()}, but scores are computed in single precision. Call "
            "torch.set_default_dtype(torch.float32) first; for half precision there is Lightning's `precision`."
        )
        raise ValueError(msg)
    if isinstance(backbone, str) and backbone.startswith(TIMM):
        return load_timm(backbone, pretrained, preprocessing, seed)
    source, tag = choose(backbone, pretrained)
    contents = read_contents(source, tag)
    prepared = resolve_preprocessing(contents.stated, preprocessing, where=tag or source)
    place = locate(source, tag, contents.config)
    clip, tokenizer, name = _create(place, contents.archive, source, tag, seed)
    if contents.archive and backbone not in {DEFAULT_BACKBONE, name, name.removesuffix(QUICK)}:
        logger.warning("'%s' is not used: '%s' brings its architecture, %s.", backbone, tag, name)
    return Backbone(
        clip=clip.eval().requires_grad_(requires_grad=False),
        tokenizer=tokenizer,
        preprocessing=Preprocessing(**prepared, size=check_tower(clip.visual).image_size),
        name=DEMO if pretrained == DEMO else name,
        weights=DEMO if pretrained == DEMO else tag or source,
        origin=place.origin,
    )


def prepare_backbone(
    backbone: str,
    pretrained: str,
    preprocessing: PreprocessingChoice,
    seed: int,
    image_size: int | tuple[int, int] | None,
) -> tuple[Backbone, Preprocessing]:
    """Load a frozen CLIP model and its preprocessing at the requested size, and check both before the first image.

    Raises:
        ValueError: same as in `load_backbone`; or the seed is not an integer, or the size not a multiple of the patch.
        WeightsError: the weights are unavailable.
    """
    check_whole("seed", seed)
    clip = load_backbone(backbone, pretrained, preprocessing, seed)
    prepared = clip.preprocessing.at_size(image_size)
    patch_grid(clip.visual, *prepared.size)
    return clip, prepared


Model = tuple[nn.Module, Callable[[list[str]], Tensor], str]


def _create(place: LocatedWeights, archive: Archive | None, source: str, tag: str | None, seed: int) -> Model:
    """Return the model, its tokenizer and the name of its architecture.

    open_clip initialises all weights before it loads them; the state of the caller's random generator is preserved.
    """
    if tag == RANDOM:
        logger.warning("Random weights: the scores mean nothing. Use this to measure time and memory only.")
    try:
        if archive is not None:
            clip, name = build(archive, source, Path(str(tag)))
            return clip, open_clip.SimpleTokenizer(context_length=clip.context_length), name
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            clip = _load(place, tag)
        return clip, open_clip.get_tokenizer(place.model), source
    except WeightsError:
        raise
    except Exception as error:  # open_clip and the hub raise many types; the remedy is the same for all
        msg = f"Cannot load the weights '{tag or source}' of '{source}' ({first_line(error)}). {_remedy(place)}"
        raise WeightsError(msg) from error


def _load(place: LocatedWeights, tag: str | None) -> nn.Module:
    """Load the model with its weights; the configuration of a folder may contain a stem, which open_clip ignores."""
    folder = Path(place.model.removeprefix(LOCAL))
    if place.model.startswith(LOCAL) and tag is None:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if STEM_CONFIG in config:
            return load_with_stem(folder, config)
    return open_clip.create_model(
        place.model, pretrained=place.file, require_pretrained=tag != RANDOM, pretrained_text=False
    )


def _remedy(place: LocatedWeights) -> str:
    where = place.file or place.model.removeprefix(LOCAL)
    if Path(where).exists():
        return "Check that the file is complete and that `backbone` names the architecture it was saved from."
    return "Set `pretrained` (--pretrained) to a file or folder of weights, or to 'demo'."

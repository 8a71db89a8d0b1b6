"""Embeddings of prompts and their mean per state, cached on disk because they depend only on weights and words."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dualclip_lightning.backbone import Backbone
from dualclip_lightning.backbone.length import check_length
from dualclip_lightning.prompts.ensemble import PromptPair
from dualclip_lightning.utilities.arguments import check_blocks, check_choice, check_temperature
from dualclip_lightning.utilities.cachedir import cache_dir
from dualclip_lightning.utilities.files import write_bytes_atomically
from dualclip_lightning.utilities.versions import versions

TextMean = Literal["raw", "unit"]
CACHE_VERSION = 1
"""Version of the computation; increase it whenever the same weights and prompts give different anchors."""

logger = logging.getLogger(__name__)


def check_text_side(temperature: float, text_mean: TextMean, vv_blocks: list[int] | None = None) -> None:
    """Check the arguments of the text side of a method, before weights are loaded.

    Args:
        temperature: temperature of the softmax over the two states.
        text_mean: "raw" or "unit".
        vv_blocks: numbers of the blocks in the V-V path; None for all, and for methods without that path.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    check_temperature(temperature)
    check_choice("text_mean", text_mean, get_args(TextMean))
    check_blocks("vv_blocks", vv_blocks)


def text_anchors(backbone: Backbone, prompts: PromptPair, cache: Path | None = None, mean: TextMean = "raw") -> Tensor:
    """Return the anchors [2, D] (normal, anomalous), the normalised mean of each state's text embeddings.

    Anchors are read from the cache, or computed and added to it. A damaged file is ignored and rewritten; if the folder
    is not writable, anchors are computed again next time.

    Args:
        backbone: backbone whose text tower encodes the prompts; its digest is part of the key.
        prompts: sentences of both states.
        cache: folder of the cache; None for the user's cache folder.
        mean: "raw" for the mean of unnormalised embeddings, as in the released code of AnoCLIP
            (github.com/hq-deng/AnoVL, `prompt_ensemble.py`) and the re-implementations of WinCLIP, or "unit" for the
            mean of normalised ones.

    Raises:
        ValueError: `mean` is unknown.

    Example:
        >>> from dualclip_lightning.backbone import load_backbone
        >>> from dualclip_lightning.prompts import prompt_ensemble, text_anchors
        >>> clip = load_backbone("ViT-B-16-plus-240", "demo")
        >>> anchors = text_anchors(clip, prompt_ensemble("steel plate"))
        >>> len(anchors), anchors.norm(dim=-1).round(decimals=4)
        (2, tensor([1., 1.]))
    """
    check_choice("text_mean", mean, get_args(TextMean))
    check_length(backbone.tokenizer, prompts.normal, prompts.anomalous)
    path = _path("anchors", backbone, prompts, cache, mean)
    return _remembered(path, {"anchors": 2}, lambda: {"anchors": compute_anchors(backbone, prompts, mean)})["anchors"]


def text_embeddings(backbone: Backbone, prompts: PromptPair, cache: Path | None = None) -> tuple[Tensor, Tensor]:
    """Return the normalised embeddings of all sentences of the normal [P_n, D] and the anomalous state [P_a, D].

    They are in the order of the prompts, on the CPU, in single precision, and cached as in `text_anchors`, which has
    the same arguments.

    Example:
        >>> from dualclip_lightning.backbone import load_backbone
        >>> from dualclip_lightning.prompts import PromptPair, text_embeddings
        >>> clip = load_backbone("ViT-B-16-plus-240", "demo")
        >>> normal, anomalous = text_embeddings(clip, PromptPair(("a good screw",), ("a bent screw", "a cut screw")))
        >>> len(normal), len(anomalous)
        (1, 2)
    """
    check_length(backbone.tokenizer, prompts.normal, prompts.anomalous)
    path = _path("embeddings", backbone, prompts, cache)
    rows = {state: len(texts) for state, texts in prompts._asdict().items()}
    states = _remembered(path, rows, lambda: dict(zip(rows, compute_embeddings(backbone, prompts), strict=True)))
    return states["normal"], states["anomalous"]


def compute_anchors(backbone: Backbone, prompts: PromptPair, mean: TextMean = "raw") -> Tensor:
    """Compute anchors [2, D] without the cache, on the CPU in single precision."""
    states = compute_embeddings(backbone, prompts) if mean == "unit" else _encode(backbone, prompts)
    return F.normalize(torch.stack([state.mean(dim=0) for state in states]), dim=-1)


def compute_embeddings(backbone: Backbone, prompts: PromptPair) -> tuple[Tensor, ...]:
    """Compute the result of `text_embeddings` without the cache."""
    return tuple(F.normalize(state, dim=-1) for state in _encode(backbone, prompts))


def _encode(backbone: Backbone, prompts: PromptPair) -> tuple[Tensor, ...]:
    """Return the unnormalised embeddings of all sentences of both states, on the CPU in single precision."""
    embeddings = backbone.encode_text([*prompts.normal, *prompts.anomalous]).float().cpu()
    return embeddings.split([len(prompts.normal), len(prompts.anomalous)])


def _path(kind: str, backbone: Backbone, prompts: PromptPair, cache: Path | None, *how: str) -> Path:
    found = versions("open_clip_torch", "torch")
    libraries = [found[name] for name in ("open_clip_torch", "torch")]
    key = [CACHE_VERSION, libraries, kind, backbone.text_digest, prompts.normal, prompts.anomalous, *how]
    folder = cache_dir(kind) if cache is None else cache
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.safetensors"


def _remembered(path: Path, rows: Mapping[str, int], compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Read unit vectors by name, with the given numbers of rows, from the file, or compute and write them."""
    vectors = _read(path, rows)
    if vectors is None:
        vectors = compute()
        _write(path, vectors)
    return vectors


def _read(path: Path, rows: Mapping[str, int]) -> dict[str, Tensor] | None:
    try:
        content = load_file(path)
        return {name: _check_vectors(content[name], count) for name, count in rows.items()}
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        logger.warning("The cached text embeddings %s are damaged (%s) and are computed again.", path, error)
        return None


def _check_vectors(vectors: Tensor, count: int) -> Tensor:
    if vectors.shape[:-1] != (count,) or not torch.allclose(vectors.norm(dim=-1), torch.ones(count)):
        msg = f"they are not {count} vectors of length 1"
        raise ValueError(msg)
    return vectors


def _write(path: Path, vectors: dict[str, Tensor]) -> None:
    try:
        write_bytes_atomically(path, save({name: value.contiguous() for name, value in vectors.items()}))
    except OSError as error:
        logger.warning("Cannot keep text embeddings in %s (%s); they are computed again next time.", path.parent, error)

"""Text anchors: one embedding a state, kept on disk because they depend on weights and words alone."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dualclip_lightning.backbone import Backbone
from dualclip_lightning.cachedir import cache_dir
from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.prompts.ensemble import PromptPair

CACHE_VERSION = 1
"""To be raised whenever anchors of the same weights and prompts are computed differently."""

logger = logging.getLogger(__name__)


def text_anchors(backbone: Backbone, prompts: PromptPair, cache: Path | None = None) -> Tensor:
    """Anchors [2, D] (normal, anomalous): the normalised mean of each state's normalised text embeddings.

    Read from the cache if it holds them, else computed and written there. A damaged file is ignored and rewritten; a
    folder that cannot be written costs time, not the run.

    Args:
        backbone: whose text tower encodes; its weights digest is part of the key.
        prompts: sentences of both states.
        cache: folder of the cache; None for the user's cache folder.
    """
    folder = cache_dir("anchors") if cache is None else cache
    path = folder / f"{_key(backbone, prompts)}.safetensors"
    anchors = _read(path)
    if anchors is None:
        anchors = compute_anchors(backbone, prompts)
        _write(path, anchors)
    return anchors


def compute_anchors(backbone: Backbone, prompts: PromptPair) -> Tensor:
    """Anchors [2, D] on the CPU in single precision, computed now."""
    embeddings = backbone.encode_text([*prompts.normal, *prompts.anomalous]).float().cpu()
    states = F.normalize(embeddings, dim=-1).split([len(prompts.normal), len(prompts.anomalous)])
    return F.normalize(torch.stack([state.mean(dim=0) for state in states]), dim=-1)


def _key(backbone: Backbone, prompts: PromptPair) -> str:
    content = json.dumps([CACHE_VERSION, backbone.digest, prompts.normal, prompts.anomalous])
    return hashlib.sha256(content.encode()).hexdigest()


def _read(path: Path) -> Tensor | None:
    try:
        return _check_anchors(load_file(path)["anchors"])
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        logger.warning("The cached anchors %s are damaged (%s) and are computed again.", path, error)
        return None


def _check_anchors(anchors: Tensor) -> Tensor:
    if anchors.shape[:-1] != (2,) or not torch.allclose(anchors.norm(dim=-1), torch.ones(2)):
        msg = "they are not two vectors of length 1"
        raise ValueError(msg)
    return anchors


def _write(path: Path, anchors: Tensor) -> None:
    try:
        write_bytes_atomically(path, save({"anchors": anchors.contiguous()}))
    except OSError as error:
        logger.warning("Cannot keep text anchors in %s (%s); they are computed again next time.", path.parent, error)

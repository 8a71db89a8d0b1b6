"""A CLIP with random weights that is small enough to run in milliseconds, the same on every machine."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import nn

SIZE, PATCH, DIM = 48, 16, 32
"""Side of an image and of a patch in pixels, and the length of an embedding."""
CONFIG: dict[str, Any] = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIZE, "patch_size": PATCH, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}


def tiny_clip(seed: int = 0, **text_changes: Any) -> nn.Module:
    """Return a CLIP with tiny towers and seeded weights, frozen as `load_backbone` does.

    Args:
        seed: seed of the weights.
        **text_changes: values of `text_cfg` that differ from `CONFIG`.
    """
    config = deepcopy(CONFIG)
    config["text_cfg"] |= text_changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stir(open_clip.CLIP(**config)).eval().requires_grad_(requires_grad=False)


def stir(model: nn.Module) -> nn.Module:
    """Change biases and norms from 0 and 1, so that an implementation that omits one gives other results."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save_folder(
    clip: nn.Module, folder: Path, config: dict[str, Any] = CONFIG, preprocess: dict[str, Any] | None = PREPROCESS
) -> None:
    """Write a model in the format of open_clip's "local-dir:"; `preprocess` None omits that part."""
    content = {"model_cfg": config} | ({} if preprocess is None else {"preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")

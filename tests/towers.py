"""Tiny towers and data sets for tests, identical on every machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from dualclip_lightning.backbone import Backbone, Preprocessing
from dualclip_lightning.backbone.preprocessing import PRESETS
from dualclip_lightning.backbone.stem import STEM_CONFIG, add_stem
from dualclip_lightning.testing.samples import TWO_SIZES, write_image, write_mask, write_mvtec
from dualclip_lightning.testing.tiny_clip import CONFIG, DIM, PATCH, PREPROCESS, SIZE, save_folder, stir, tiny_clip

__all__ = [
    "CONFIG", "DIM", "PATCH", "PREPROCESS", "SIZE", "TINY_CLIP", "TWO_SIZES", "random_images", "save_folder",
    "shallow_folder", "stem_folder", "tiny_backbone", "tiny_clip", "tower", "write_image", "write_mask", "write_mvtec",
]  # fmt: skip


def tower(image_size: int | tuple[int, int] = SIZE, seed: int = 0, **changes: Any) -> VisionTransformer:
    """Return an open_clip vision transformer of 3 blocks with seeded weights, none of them exactly 0 or 1."""
    arguments = {"patch_size": PATCH, "width": 32, "layers": 3, "heads": 2, "mlp_ratio": 2.0, "output_dim": DIM}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stir(VisionTransformer(image_size=image_size, **(arguments | changes))).eval()


def tiny_backbone(seed: int = 0) -> Backbone:
    """Return what `load_backbone` would return for a tiny CLIP."""
    preset = PRESETS["openai"]
    preprocessing = Preprocessing(preset["mean"], preset["std"], preset["interpolation"], (SIZE, SIZE))
    return Backbone(tiny_clip(seed), open_clip.get_tokenizer("ViT-B-32"), preprocessing, "tiny", f"seed {seed}")


TINY_CLIP = Path(__file__).parent / "assets" / "tiny_clip"
"""Folder of a trained open_clip model; that of `tiny_clip` has random weights."""


STEM = {"model": "test_efficientnet", "stages": [2, 3]}
"""Stages of strides 8 and 16, with 32 and 48 channels."""


@cache
def stem_folder() -> Path:
    """Return the folder of a tiny CLIP with a convolutional stem and random weights, kept until the program ends."""
    config = CONFIG | {"vision_cfg": CONFIG["vision_cfg"] | {"width": 64}}
    path = _saved(config, lambda clip: add_stem(clip, STEM))
    content = json.loads((path / "open_clip_config.json").read_text()) | {STEM_CONFIG: STEM}
    (path / "open_clip_config.json").write_text(json.dumps(content))
    return path


@cache
def shallow_folder() -> Path:
    """Return the folder of a tiny CLIP of two blocks for exports, which take long for each; kept as above."""
    return _saved(CONFIG | {"vision_cfg": CONFIG["vision_cfg"] | {"layers": 2}})


def _saved(config: dict[str, Any], change: Callable[[nn.Module], nn.Module] = lambda clip: clip) -> Path:
    """Save a CLIP with random weights, changed before they are stirred."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = stir(change(open_clip.CLIP(**config))).eval()
    folder = tempfile.TemporaryDirectory(prefix="clip-")
    _KEPT.append(folder)
    save_folder(clip, Path(folder.name), config)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory] = []


def random_images(count: int, height: int = SIZE, width: int = SIZE, seed: int = 0) -> Tensor:
    """Return random images [count, 3, height, width] with the range of preprocessed ones."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))

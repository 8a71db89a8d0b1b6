"""Tiny towers and data sets for tests, identical on every machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from dualclip_lightning.backbone import Backbone, Preprocessing
from dualclip_lightning.backbone.preprocessing import PRESETS

SIZE, PATCH, DIM = 48, 16, 32
CONFIG: dict[str, Any] = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIZE, "patch_size": PATCH, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}


def tower(image_size: int | tuple[int, int] = SIZE, seed: int = 0, **changes: Any) -> VisionTransformer:
    """Return an open_clip vision transformer of 3 blocks with seeded weights, none of them exactly 0 or 1."""
    arguments = {"patch_size": PATCH, "width": 32, "layers": 3, "heads": 2, "mlp_ratio": 2.0, "output_dim": DIM}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _stir(VisionTransformer(image_size=image_size, **(arguments | changes))).eval()


def tiny_clip(seed: int = 0, **text_changes: Any) -> nn.Module:
    """Return a CLIP of two tiny towers with seeded weights, frozen as by `load_backbone`."""
    config = deepcopy(CONFIG)
    config["text_cfg"] |= text_changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _stir(open_clip.CLIP(**config)).eval().requires_grad_(requires_grad=False)


def tiny_backbone(seed: int = 0) -> Backbone:
    """Return what `load_backbone` would return for a tiny CLIP."""
    preset = PRESETS["openai"]
    preprocessing = Preprocessing(preset["mean"], preset["std"], preset["interpolation"], (SIZE, SIZE))
    return Backbone(tiny_clip(seed), open_clip.get_tokenizer("ViT-B-32"), preprocessing, "tiny", f"seed {seed}")


def _stir(model: nn.Module) -> nn.Module:
    """Give biases and norms random values, so that the tests notice an implementation that omits one."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save_folder(
    clip: nn.Module, folder: Path, config: dict[str, Any] = CONFIG, preprocess: dict[str, Any] | None = PREPROCESS
) -> None:
    """Write a model in the format that open_clip reads with "local-dir:"; `preprocess=None` omits that part."""
    content = {"model_cfg": config} | ({} if preprocess is None else {"preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")


TINY_CLIP = Path(__file__).parent / "assets" / "tiny_clip"
"""Folder of a trained open_clip model; that of `tiny_clip` has random weights."""
TWO_SIZES = (40, 56), (64, 52)


def random_images(count: int, height: int = SIZE, width: int = SIZE, seed: int = 0) -> Tensor:
    """Return random images [count, 3, height, width] with the range of preprocessed ones."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 56)) -> None:
    """Write a smooth random RGB image of height and width `size`."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize((size[1], size[0]), Image.Resampling.BICUBIC).save(path)


def write_mask(path: Path, size: tuple[int, int] = (40, 56)) -> None:
    """Write a mask with one rectangle."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def write_mvtec(
    root: Path, category: str, normal: int = 4, anomalous: int = 5, sizes: Sequence[tuple[int, int]] = TWO_SIZES
) -> None:
    """Write a category in the layout of MVTec AD, with images of two alternating sizes (height, width)."""
    for i in range(3):
        write_image(root / category / "train" / "good" / f"{i:03}.png", seed=1000 + i)
    for i in range(normal):
        write_image(root / category / "test" / "good" / f"{i:03}.png", seed=i, size=sizes[i % 2])
    for i in range(anomalous):
        write_image(root / category / "test" / "scratch" / f"{i:03}.png", seed=100 + i, size=sizes[i % 2])
        write_mask(root / category / "ground_truth" / "scratch" / f"{i:03}_mask.png", size=sizes[i % 2])

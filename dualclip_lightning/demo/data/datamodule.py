"""The bundled demo data: materials with drawn defects, and real boards and spindles, in MVTec AD's layout.

The materials are CC0 photographs that were not used to train the demo model; their defects are drawn from a seed, with
exact masks. The boards are crops of DeepPCB (MIT licence), whose masks are the differences from the defect-free
template inside the annotated boxes. The spindles are photographs of BSData (CC BY-SA 4.0), reduced in size, with
annotated pitting; `assets/LICENSES.md` describes their selection. All images are generated from files of this package
in a few seconds, with identical bytes each time; real categories are the same for every seed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from anomalib.data import MVTecAD
from PIL import Image

from dualclip_lightning.data.categories import check_category
from dualclip_lightning.demo.data.assets import CATEGORIES
from dualclip_lightning.demo.data.samples import Pixels, Sample, make_category
from dualclip_lightning.utilities.cachedir import cache_dir

VERSION = 6
"""Version of the data; increase it if a seed gives other files. Older folders are kept and a new one is created."""
MARKER = "demo.json"
"""Name of the file next to the categories that records their version and seed."""


class Demo(MVTecAD):
    """The demo as an anomalib datamodule, whose images are generated when they are first needed.

    Args:
        root: folder for the categories; None for one in the user's cache folder.
        category: one of `CATEGORIES`.
        eval_batch_size: number of images in a batch.
        num_workers: number of workers; 0 by default, because loading such small images is faster than starting workers.
        seed: seed of the images, which is independent of a method's seed.

    Raises:
        ValueError: the category is unknown.

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
        """Generate the images if they do not exist.

        Raises:
            ValueError: the folder has other content.
        """
        generate_demo(self.root, self.seed or 0)


def demo_folder(seed: int = 0) -> Path:
    """Return the folder of the demo for a seed in the user's cache folder."""
    return cache_dir("demo") / f"v{VERSION}-seed{seed}"


def generate_demo(root: Path, seed: int = 0) -> Path:
    """Write every category below `root` in MVTec AD's layout, and return `root`; an existing demo of this seed is kept.

    The folder gets its name when it is complete, so that an interrupted run leaves no incomplete folder.

    Raises:
        ValueError: the folder has other content, for example the demo of another seed.
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
            if not _is_demo(root, seed):  # otherwise another process was faster
                raise
    return root


def _is_demo(root: Path, seed: int) -> bool:
    marker = root / MARKER
    return marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == _identity(seed)


def _identity(seed: int) -> dict[str, int]:
    return {"version": VERSION, "seed": seed}


def _write_demo(root: Path, seed: int) -> None:
    for category in CATEGORIES:
        for number, sample in enumerate(make_category(category, seed)):
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

"""The embedded demo data: materials with drawn defects, and real printed circuit boards, in MVTec AD's layout.

The materials are CC0 photographs that the demo model never saw in training; their defects are drawn from a seed with
exact masks. The boards are crops of DeepPCB (MIT licence), whose masks are what differs from the sound template inside
the annotated boxes. It is all generated from files of this package in a second or two, byte for byte the same.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from anomalib.data import MVTecAD
from PIL import Image

from dualclip_lightning.cachedir import cache_dir
from dualclip_lightning.data.assets import ASSETS, CATEGORIES, MATERIALS, photographs
from dualclip_lightning.data.categories import check_category
from dualclip_lightning.data.defects import DEFECTS, add_defect
from dualclip_lightning.seeding import derive_seed

VERSION = 5
"""To be raised whenever the same seed gives other files; older folders are then left alone and a new one is made."""
MARKER = "demo.json"
"""Lies beside the categories and says which version and seed they are."""
KINDS = tuple(kind for kind in DEFECTS if kind != "speck")
"""Defects of materials; specks are faults of a print, and the boards bring real ones."""
TRAIN_IMAGES, GOOD_IMAGES, IMAGES_A_DEFECT = 4, 12, 2

Pixels = npt.NDArray[np.uint8]


class Sample(NamedTuple):
    """One image of the demo on its way to disk."""

    folder: str
    """"train/good", "test/good" or "test/<defect>"."""
    image: Pixels
    mask: npt.NDArray[np.bool_] | None
    """None for a good image."""


class Demo(MVTecAD):
    """The demo as an anomalib datamodule; images are generated when first needed.

    Args:
        root: folder for the categories; None takes one in the user's cache folder.
        category: one of `CATEGORIES`.
        eval_batch_size: images a batch.
        num_workers: 0, because loading 128-pixel images costs less than starting workers.
        seed: draws the images; it has nothing to do with a method's seed.

    Raises:
        ValueError: an unknown category.
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


def draw_category(category: str, seed: int = 0) -> Iterator[Sample]:
    """The images of one category, drawn from the seed, or for "pcb" read from the package."""
    if category == "pcb":
        yield from _boards()
        return
    sources = [_read(path) for path in photographs(category)]
    others = [_read(path) for name in MATERIALS if name != category for path in photographs(name)]
    rng = np.random.default_rng(derive_seed(seed, "demo", category))
    for folder, count in (("train/good", TRAIN_IMAGES), ("test/good", GOOD_IMAGES)):
        for _ in range(count):
            yield Sample(folder, _place(sources, rng), None)
    for kind in KINDS:
        for _ in range(IMAGES_A_DEFECT):
            other = others[rng.integers(len(others))]
            yield Sample(f"test/{kind}", *add_defect(_place(sources, rng), kind, rng, other))


def board_mask(test: Pixels, template: Pixels, boxes: list[list[int]]) -> npt.NDArray[np.bool_]:
    """Defect mask of a board [H, W]: where it differs from its template inside the boxes (x1, y1, x2, y2, type).

    Single pixels that binarisation moved along an edge are not defects and are opened away, unless the box would
    be left empty.
    """
    different = (test > 127) != (template > 127)  # noqa: PLR2004 - bytes, binarised
    square = np.ones((2, 2), np.uint8)  # of even size: its two anchors must mirror each other, or the mask moves
    opened = cv2.dilate(cv2.erode(different.astype(np.uint8), square, anchor=(0, 0)), square, anchor=(1, 1)) > 0
    mask = np.zeros_like(different)
    for x1, y1, x2, y2, *_ in boxes:
        box = np.s_[y1:y2, x1:x2]
        mask[box] |= opened[box] if opened[box].any() else different[box]
    return mask


def _boards() -> Iterator[Sample]:
    folder = ASSETS / "pcb"
    good = [_read(path) for path in sorted(folder.glob("*_good.png"))]
    for i, image in enumerate(good):
        yield Sample("train/good" if i < TRAIN_IMAGES else "test/good", image, None)
    for name, boxes in sorted(json.loads((folder / "boxes.json").read_text()).items()):
        test, template = _read(folder / f"{name}_test.png"), _read(folder / f"{name}_template.png")
        yield Sample("test/defect", test, board_mask(test[..., 0], template[..., 0], boxes))


def _place(sources: list[Pixels], rng: np.random.Generator) -> Pixels:
    """A photograph of a tileable material, moved and mirrored, at a slightly other brightness, with sensor noise."""
    image = sources[rng.integers(len(sources))]
    moved = np.roll(image, tuple(rng.integers(0, len(image), 2)), (0, 1))
    mirrored = moved[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    level = mirrored * rng.uniform(0.92, 1.08) + rng.normal(0, 2, image.shape)
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write(category: Path, name: str, sample: Sample) -> None:
    _save(category / sample.folder / f"{name}.png", sample.image)
    if sample.mask is not None:
        kind = sample.folder.removeprefix("test/")
        _save(category / "ground_truth" / kind / f"{name}_mask.png", sample.mask.astype(np.uint8) * 255)


def _save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)

"""The images of the demo: materials with drawn defects, real boards and real spindles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from dualclip_lightning.demo.data.assets import ASSETS, MATERIALS, photographs
from dualclip_lightning.demo.data.defects import DEFECTS, add_defect
from dualclip_lightning.utilities.seeding import derive_seed

KINDS = tuple(kind for kind in DEFECTS if kind != "speck")
"""Kinds of defects drawn on materials: all except specks, which are misprints."""
TRAIN_IMAGES, GOOD_IMAGES, IMAGES_A_DEFECT = 4, 12, 2
"""Numbers of images of a material: for training, good ones for testing, and per kind of defect."""

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


class Sample(NamedTuple):
    """One image of the demo before it is written."""

    folder: str
    """"train/good", "test/good" or "test/<defect>"."""
    image: Pixels
    mask: Mask | None
    """None for a good image."""


def make_category(category: str, seed: int = 0) -> Iterator[Sample]:
    """Yield the images of one category: a material drawn from the seed, or a real category from the package."""
    if category == "pcb":
        return _boards(ASSETS / category)
    if category == "spindle":
        return _spindles(ASSETS / category)
    return _material(category, seed)


def board_mask(test: Pixels, template: Pixels, boxes: list[list[int]]) -> Mask:
    """Return the defect mask of a board [H, W]: its differences from the template inside boxes (x1, y1, x2, y2, type).

    Single pixels that binarisation shifted along an edge are not defects and are removed by opening, unless the box
    would be empty.
    """
    different = (test > 127) != (template > 127)  # noqa: PLR2004 - bytes, binarised
    square = np.ones((2, 2), np.uint8)  # of even size: its two anchors must mirror each other, or the mask moves
    opened = cv2.dilate(cv2.erode(different.astype(np.uint8), square, anchor=(0, 0)), square, anchor=(1, 1)) > 0
    mask = np.zeros_like(different)
    for x1, y1, x2, y2, *_ in boxes:
        box = np.s_[y1:y2, x1:x2]
        mask[box] |= opened[box] if opened[box].any() else different[box]
    return mask


def _material(category: str, seed: int) -> Iterator[Sample]:
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


def _boards(folder: Path) -> Iterator[Sample]:
    yield from _sound(folder, ".png")
    for name, boxes in sorted(json.loads((folder / "boxes.json").read_text()).items()):
        test, template = _read(folder / f"{name}_test.png"), _read(folder / f"{name}_template.png")
        yield Sample("test/defect", test, board_mask(test[..., 0], template[..., 0], boxes))


def _spindles(folder: Path) -> Iterator[Sample]:
    yield from _sound(folder, ".jpg")
    for path in sorted(folder.glob("*_pitting.jpg")):
        mask = _read(path.with_name(path.name.replace("_pitting.jpg", "_mask.png")))
        yield Sample("test/pitting", _read(path), mask[..., 0] > 0)


def _sound(folder: Path, ending: str) -> Iterator[Sample]:
    for part, kind in (("train/good", "train"), ("test/good", "good")):
        for path in sorted(folder.glob(f"*_{kind}{ending}")):
            yield Sample(part, _read(path), None)


def _place(sources: list[Pixels], rng: np.random.Generator) -> Pixels:
    """Draw a photograph of a tileable material, shifted and mirrored, with other brightness and sensor noise."""
    image = sources[rng.integers(len(sources))]
    moved = np.roll(image, tuple(rng.integers(0, len(image), 2)), (0, 1))
    mirrored = moved[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    level = mirrored * rng.uniform(0.92, 1.08) + rng.normal(0, 2, image.shape)
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))

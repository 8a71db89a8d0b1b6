"""Groups of training images: views of one scene, first sound ones, then an equal number with defects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image, Mask
from dualclip_lightning.demo.training.synthetic.faults import FAULTS, add_fault
from dualclip_lightning.demo.training.synthetic.grounds import Textures
from dualclip_lightning.demo.training.synthetic.scenes import SCENES, Scene

VIEWS = 4
"""Number of images in a group; the second half has defects."""
LOGICAL_KIND = "logical"
LOGICAL_SHARE = 0.35
"""Probability that a scene with possible logical faults shows one instead of a drawn defect."""


class Kinds(NamedTuple):
    """Kinds of scenes and defects that are drawn."""

    scenes: tuple[str, ...]
    faults: tuple[str, ...]
    logical: bool = True
    """True to draw logical faults, too, in scenes that can have them."""


class Group(NamedTuple):
    """Views of one scene."""

    images: npt.NDArray[np.uint8]
    """Images [V, S, S, 3]."""
    masks: npt.NDArray[np.bool_]
    """Masks [V, S, S]."""
    names: tuple[str, ...]
    """Words for what is shown."""
    kinds: frozenset[str]
    """Kinds of the scene and of its defects; all logical faults are one kind, `LOGICAL_KIND`."""


def make_group(textures: Textures, kinds: Kinds, rng: np.random.Generator, size: int, views: int = VIEWS) -> Group:
    """Draw a scene of a random kind, half of its views with one or two defects."""
    kind = kinds.scenes[int(rng.integers(len(kinds.scenes)))]
    scene = SCENES[kind](textures, rng, size)
    sound = [scene.sound(rng) for _ in range(views // 2)]
    faulty = [_faulty(scene, textures, kinds, rng) for _ in range(views - views // 2)]
    images = np.stack([*sound, *(image for image, _, _ in faulty)])
    masks = np.stack([*(np.zeros(image.shape[:2], bool) for image in sound), *(mask for _, mask, _ in faulty)])
    drawn = (fault for _, _, faults in faulty for fault in faults)
    return Group(images, masks, scene.names, frozenset({kind, *drawn}))


def _faulty(
    scene: Scene, textures: Textures, kinds: Kinds, rng: np.random.Generator
) -> tuple[Image, Mask, tuple[str, ...]]:
    """Draw a view with a logical fault, or one or two drawn defects, and their kinds; retry if nothing is visible."""
    suitable = [kind for kind in kinds.faults if kind in scene.suits] or kinds.faults
    while True:
        if kinds.logical and scene.faults and rng.random() < LOGICAL_SHARE:
            try:
                image, mask = scene.faulty(str(rng.choice(scene.faults)), rng)
                drawn: tuple[str, ...] = (LOGICAL_KIND,)
            except ValueError:  # no piece shows this fault
                continue
        else:
            image, mask, drawn = _damaged(scene.render(rng), textures, suitable, rng)
            image, mask = scene.shoot(image, mask, rng)
        if mask.any():
            return image, mask, drawn


def _damaged(
    image: Image, textures: Textures, faults: Sequence[str], rng: np.random.Generator
) -> tuple[Image, Mask, tuple[str, ...]]:
    mask, kinds = np.zeros(image.shape[:2], bool), []
    wanted = int(rng.integers(1, 3))
    while wanted:
        material = textures[str(rng.choice(sorted(textures)))]
        kind = str(rng.choice(faults))
        try:
            drawn = add_fault(image, kind, rng, material[int(rng.integers(len(material)))])
        except ValueError:  # this kind cannot be seen at this place
            continue
        image, mask, wanted = drawn.image, mask | drawn.mask, wanted - 1
        kinds.append(kind)
    return image, mask, tuple(kinds)


def all_faults(without: frozenset[str]) -> tuple[str, ...]:
    """Return the names of the kinds of drawn defects, without some."""
    return tuple(kind for kind in FAULTS if kind not in without)


def all_scenes(without: frozenset[str]) -> tuple[str, ...]:
    """Return the names of the kinds of scenes, without some."""
    return tuple(kind for kind in SCENES if kind not in without)

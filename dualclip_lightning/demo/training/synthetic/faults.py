"""Kinds of defects that are used only in training, in addition to those of `dualclip_lightning.demo.data.defects`.

Every kind takes an RGB image [H, W, 3] of bytes, a generator and an image of another material, and returns the drawn
image [H, W, 3] and the region [H, W] that it may have changed; `add_fault` computes the exact mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dualclip_lightning.demo.data.defects import DEFECTS, Defective, DefectMaker, visible_defect
from dualclip_lightning.demo.data.shapes import Image
from dualclip_lightning.demo.training.synthetic.marks import chip, cut, dead, fibre, fold, moved, ring, scrape
from dualclip_lightning.demo.training.synthetic.stains import bubble, burn, corrosion, dust, faded, patch, pits, smear

SMALLEST = 96
"""Side in pixels of the smallest part of an image into which a fault is drawn."""


def add_fault(image: Image, kind: str, rng: np.random.Generator, other: Image) -> Defective:
    """Draw a fault of a kind of `FAULTS` at a random position and scale: it fills a square part of the image.

    Args:
        image: RGB bytes [H, W, 3].
        kind: name of the fault.
        rng: generator for position, scale, shape and strength.
        other: RGB bytes [H, W, 3] of another material, for foreign pieces.

    Raises:
        ValueError: the fault is not visible on this image.
    """
    side = min(image.shape[:2])
    part = int(np.exp(rng.uniform(np.log(min(SMALLEST, side)), np.log(side))))
    top, left = (int(rng.integers(0, length - part + 1)) for length in image.shape[:2])
    window = np.s_[top : top + part, left : left + part]
    drawn = visible_defect(image[window], FAULTS[kind], rng, other[window])
    if drawn is None:
        msg = f"A {kind} cannot be seen on this image."
        raise ValueError(msg)
    whole, mask = image.copy(), np.zeros(image.shape[:2], bool)
    whole[window], mask[window] = drawn.image, drawn.mask
    return Defective(whole, mask)


OWN = (pits, corrosion, smear, burn, bubble, fibre, fold, scrape, cut, moved, ring, faded, chip, dust, dead, patch)
FAULTS: Mapping[str, DefectMaker] = {**DEFECTS, **{kind.__name__: kind for kind in OWN}}
"""All kinds of defects by name, those of the demo's data and those of training."""

"""Scenes such as an inspection camera might see, from which any number of sound training images can be rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualclip_lightning.demo.data.defects import visible_defect
from dualclip_lightning.demo.data.shapes import Image, Mask
from dualclip_lightning.demo.training.synthetic.camera import Camera, random_camera, take
from dualclip_lightning.demo.training.synthetic.grounds import Textures, brushed, flat, photograph, stripes, turned
from dualclip_lightning.demo.training.synthetic.parts import array_of, part, scattered
from dualclip_lightning.demo.training.synthetic.pieces import Piece, paint_piece
from dualclip_lightning.demo.training.synthetic.products import board, cable, cells, label

LOGICAL = ("missing", "extra", "displaced", "swapped", "broken")
"""Logical faults of a scene made of pieces."""


@dataclass(frozen=True)
class Scene:
    """A product under a camera."""

    names: tuple[str, ...]
    """Words for what is shown."""
    ground: Callable[[np.random.Generator], Image]
    """Function that paints the ground [S, S, 3] under the pieces, which may differ between views."""
    pieces: Sequence[Piece]
    loose: Sequence[int]
    """Indices of the pieces that may be missing, displaced and so on."""
    suits: Sequence[str]
    """Kinds of drawn defects that a product like this can have; empty for all."""
    camera: Camera

    @property
    def faults(self) -> tuple[str, ...]:
        """Return the logical faults that the scene can have."""
        return LOGICAL if self.loose else ()

    def render(self, rng: np.random.Generator) -> Image:
        """Render a clean image [S, S, 3]."""
        return _paint(self.ground(rng), self.pieces)

    def shoot(self, image: Image, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
        """Apply the camera to a clean image and a mask [S, S]."""
        return take(self.camera, image, mask, rng)

    def sound(self, rng: np.random.Generator) -> Image:
        """Render a view without a defect."""
        image = self.render(rng)
        return self.shoot(image, np.zeros(image.shape[:2], bool), rng)[0]

    def faulty(self, kind: str, rng: np.random.Generator) -> tuple[Image, Mask]:
        """Render a view with a logical fault of a kind of `LOGICAL`, and the mask [S, S] of its visible differences.

        Raises:
            ValueError: no piece shows such a fault.
        """
        ground = self.ground(rng)
        sound = _paint(ground, self.pieces)

        def draw(image: Image, generator: np.random.Generator, other: Image) -> tuple[Image, Mask]:
            del image, other
            return _paint(ground, self._with(kind, generator)), np.ones(sound.shape[:2], bool)

        drawn = visible_defect(sound, draw, rng, sound)
        if drawn is None:
            msg = f"No piece of this scene shows the fault '{kind}'."
            raise ValueError(msg)
        return self.shoot(drawn.image, drawn.mask, rng)

    def _with(self, kind: str, rng: np.random.Generator) -> list[Piece]:
        pieces, number = list(self.pieces), int(rng.choice(self.loose))
        piece = pieces[number]
        if kind == "missing":
            del pieces[number]
        elif kind == "extra":
            pieces.append(piece.moved(rng.uniform(-0.3, 0.3, 2), rng.uniform(-1, 1)))
        elif kind == "displaced":
            pieces[number] = piece.moved(rng.uniform(-0.6, 0.6, 2) * piece.size().clip(0.02), rng.uniform(-0.5, 0.5))
        elif kind == "swapped":
            colour = tuple(np.clip(np.array(piece.colour) * rng.uniform(0.3, 1.7, 3), 0, 255))
            pieces[number] = replace(piece, colour=colour, texture=None)
        else:  # broken: a line loses its middle or end, an outline a corner
            keep = max(2, int(len(piece.points) * rng.uniform(0.4, 0.8)))
            pieces[number] = replace(piece, points=np.roll(piece.points, rng.integers(len(piece.points)), 0)[:keep]) \
                if not piece.thickness else _shortened(piece, rng)  # fmt: skip
        return pieces


def _shortened(piece: Piece, rng: np.random.Generator) -> Piece:
    start, end = piece.points[0], piece.points[1]
    return replace(piece, points=np.stack([start, start + (end - start) * rng.uniform(0.3, 0.8)]))


def _paint(ground: Image, pieces: Sequence[Piece]) -> Image:
    canvas = ground.copy()
    for piece in pieces:
        paint_piece(canvas, piece)
    return canvas


Make = Callable[[Textures, np.random.Generator, int], Scene]


def _texture(textures: Textures, rng: np.random.Generator, size: int) -> Scene:
    name, ground = photograph(textures, rng, size)
    return Scene((name, "surface", "texture"), ground, (), (), (), random_camera(rng, 180 * (rng.random() < 0.3), 0.0))  # noqa: PLR2004


def _of_ground(names: tuple[str, ...], make: Callable, turn: float = 3.0) -> Make:
    def scene(textures: Textures, rng: np.random.Generator, size: int) -> Scene:
        return Scene(names, make(textures, rng, size), (), (), (), random_camera(rng, turn))

    return scene


def _of_pieces(make: Callable, turn: float = 3.0) -> Make:
    def scene(textures: Textures, rng: np.random.Generator, size: int) -> Scene:
        lies = 180.0 if rng.random() < 0.25 else turn  # noqa: PLR2004
        names, ground, pieces, loose, suits = make(textures, rng, size)
        return Scene(names, ground, pieces, loose, suits, random_camera(rng, lies))

    return scene


SCENES: Mapping[str, Make] = {
    "texture": _texture,
    "brushed": _of_ground(("metal", "steel plate", "aluminium", "sheet metal"), brushed),
    "turned": _of_ground(("spindle", "shaft", "thread", "cylinder", "commutator", "roller"), turned),
    "stripes": _of_ground(("fabric", "mesh", "weave", "corrugated sheet", "grid"), stripes),
    "plain": _of_ground(("glass", "plastic", "paint", "film", "paper", "leather"), flat),
    "cells": _of_pieces(cells),
    "part": _of_pieces(part),
    "array": _of_pieces(array_of),
    "scattered": _of_pieces(scattered),
    "cable": _of_pieces(cable),
    "board": _of_pieces(board),
    "label": _of_pieces(label),
}
"""Kinds of scenes by name; each makes a scene from photographs of materials, a generator and the side in pixels."""

"""Products made of pieces: each maker returns the first fields of a `Scene`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.training.synthetic.grounds import Textures, flat
from dualclip_lightning.demo.training.synthetic.parts import (
    MIDDLE,
    Product,
    colour,
    random_ground,
    random_material,
)
from dualclip_lightning.demo.training.synthetic.pieces import Colour, Piece, ellipse, rectangle

END = 0.85
"""Coordinate at which the bars of a code end."""
PRINTED = ("speck", "moved", "cut", "hole")
"""Drawn defects that are possible in a black-and-white mask."""


def cells(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw a grid of cells with joints, some with lines across: solar cells, tiles, wafers, windows."""
    rows, columns, gap = int(rng.integers(1, 7)), int(rng.integers(1, 7)), rng.uniform(0.005, 0.03)
    texture, base, ground = random_material(textures, rng, size), colour(rng), flat(textures, rng, size)
    step = np.array([1 / columns, 1 / rows])
    pieces = [
        Piece(rectangle(step * (c, r) + gap, step - 2 * gap), base, texture, edge=rng.choice([0, -25]))
        for r in range(rows)
        for c in range(columns)
    ]
    loose, bars, line = list(range(len(pieces))), int(rng.integers(0, 5)), colour(rng)
    pieces += [
        Piece(np.array([[place, 0.0], [place, 1.0]]), line, thickness=rng.uniform(0.004, 0.012))
        for place in (np.arange(bars * columns) + 0.5) / max(1, bars * columns)
    ]
    fine = int(rng.choice([0, int(rng.integers(10, 40))]))
    pieces += [
        Piece(np.array([[0.0, place], [1.0, place]]), line, thickness=0.003)
        for place in (np.arange(fine) + 0.5) / max(1, fine)
    ]
    loose += range(len(loose), len(pieces))
    return ("solar cell", "tile", "wafer", "panel", "grid"), ground, pieces, loose, ()


def cable(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw the cross-section of a cable: cores with strands in a sheath."""
    pieces = [Piece(ellipse(MIDDLE, np.array([0.45, 0.45])), colour(rng), edge=-30)]
    cores, first = int(rng.integers(1, 5)), rng.uniform(0, 2 * np.pi)
    ring, radius = (0.0, 0.3) if cores == 1 else (0.22, 0.42 / cores + 0.04)
    metal = tuple(np.clip(rng.normal([190, 120, 80], 25), 0, 255))
    for angle in first + np.arange(cores) * 2 * np.pi / cores:
        middle = MIDDLE + ring * np.array([np.cos(angle), np.sin(angle)])
        pieces.append(Piece(ellipse(middle, np.array([radius, radius])), colour(rng), edge=-30))
        for _ in range(int(rng.integers(8, 30))):
            spot = middle + rng.uniform(-0.6, 0.6, 2) * radius
            pieces.append(Piece(ellipse(spot, np.full(2, radius * 0.13)), metal, edge=-50))
    return ("cable", "wire", "pipe", "hose"), random_ground(textures, rng, size), pieces, range(1, len(pieces)), ()


def board(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw a circuit board, in colour or as a mask: traces at angles of 90 and 45 degrees, pads and chips."""
    del textures
    binary = rng.random() < 0.4  # noqa: PLR2004
    low, high = (0.0, 255.0) if rng.random() < 0.6 else (255.0, 0.0)  # noqa: PLR2004
    copper: Colour = (high,) * 3 if binary else tuple(np.clip(rng.normal([170, 150, 90], 40), 0, 255))
    base: Colour = (low,) * 3 if binary else tuple(np.clip(rng.normal([30, 90, 50], 40), 0, 255))
    pitch, width, pieces = rng.uniform(0.04, 0.12), rng.uniform(0.008, 0.03), []
    grid = np.arange(pitch / 2, 1, pitch)
    steps = np.array([[1, 0], [0, 1], [1, 1], [1, -1]]) * rng.choice([-1, 1])
    for _ in range(int(rng.integers(10, 40))):
        at, turn = rng.choice(grid, 2), int(rng.integers(4))
        for _ in range(int(rng.integers(1, 4))):
            to = at + steps[turn] * pitch * rng.integers(1, 7)
            pieces.append(Piece(np.stack([at, to]), copper, thickness=width))
            at, turn = to, (turn + int(rng.choice([1, 2, 3]))) % 4
        pieces.append(Piece(ellipse(at, np.full(2, width * rng.uniform(0.8, 1.6))), copper))
        if rng.random() < 0.5:  # noqa: PLR2004
            pieces.append(Piece(ellipse(at, np.full(2, width * 0.5)), base))
    for _ in range(0 if binary else int(rng.integers(0, 6))):
        corner, extent, pins = rng.uniform(0.02, 0.7, 2), rng.uniform(0.08, 0.28, 2), int(rng.integers(3, 9))
        for x in corner[0] + (np.arange(pins) + 0.5) / pins * extent[0]:
            ends = np.array([[x, corner[1] - 0.02], [x, corner[1] + extent[1] + 0.02]])
            pieces.append(Piece(ends, (200, 200, 200), thickness=0.3 * extent[0] / pins))
        pieces.append(Piece(rectangle(corner, extent), tuple(rng.uniform(10, 70, 3)), edge=20))

    def ground(generator: np.random.Generator) -> npt.NDArray:
        grain = 0 if binary else generator.normal(0, 3, (size, size, 1))
        return np.clip(np.array(base) + grain + np.zeros((size, size, 3)), 0, 255).astype(np.uint8)

    return (
        ("printed circuit board", "circuit board", "pcb"),
        ground,
        pieces,
        range(len(pieces)),
        PRINTED if binary else (),
    )


def label(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw a label: the bars of a code, lines of letter-like strokes, and a frame."""
    ink, pieces = colour(rng), []
    paper = Piece(rectangle(np.array([0.06, 0.06]), np.array([0.88, 0.88])), colour(rng), edge=-40)
    bars = np.cumsum(rng.uniform(0.012, 0.04, int(rng.integers(0, 25)))) + 0.15
    pieces += [
        Piece(np.array([[x, 0.12], [x, 0.35]]), ink, thickness=rng.uniform(0.004, 0.02)) for x in bars[bars < END]
    ]
    height = rng.uniform(0.03, 0.08)
    for y in np.arange(0.42, 0.88, height * 1.7):
        for x in np.arange(0.12, rng.uniform(0.5, 0.85), height * 0.9):
            corners = np.array([[x, y], [x + 0.6 * height, y], [x, y + height], [x + 0.6 * height, y + height]])
            chosen = rng.permutation(4)
            pieces.append(Piece(corners[chosen[:2]], ink, thickness=height * 0.17))
            pieces.append(Piece(corners[chosen[1:3]], ink, thickness=height * 0.17))
    return (
        ("label", "print", "packaging", "box"),
        random_ground(textures, rng, size),
        [paper, *pieces],
        range(1, 1 + len(pieces)),
        (),
    )

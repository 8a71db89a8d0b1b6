"""Products made of pieces: each maker returns the first fields of a `Scene`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.training.synthetic.grounds import Ground, Textures, brushed, flat, photograph, tone
from dualclip_lightning.demo.training.synthetic.pieces import Colour, Piece, capsule, ellipse, rectangle, regular

Product = tuple[tuple[str, ...], Ground, Sequence[Piece], Sequence[int], Sequence[str]]
GEAR, PIN = 2, 3
MIDDLE = np.array([0.5, 0.5])
END = 0.85
"""Where the bars of a code end."""
PRINTED = ("speck", "moved", "cut", "hole")
"""Drawn defects that a mask of black and white can have."""


def colour(rng: np.random.Generator) -> Colour:
    """A colour for a piece."""
    return tuple(tone(rng))


def _ground(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    if rng.random() < 0.6:  # noqa: PLR2004
        return flat(textures, rng, size)
    return photograph(textures, rng, size)[1]


def _material(textures: Textures, rng: np.random.Generator, size: int) -> npt.NDArray | None:
    if rng.random() < 0.5:  # noqa: PLR2004
        return None
    return (brushed(textures, rng, size) if rng.random() < 0.4 else photograph(textures, rng, size)[1])(rng)  # noqa: PLR2004


def cells(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """A grid of cells with joints and, on some, lines across: solar cells, tiles, wafers, windows."""
    rows, columns, gap = int(rng.integers(1, 7)), int(rng.integers(1, 7)), rng.uniform(0.005, 0.03)
    texture, base, ground = _material(textures, rng, size), colour(rng), flat(textures, rng, size)
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


def _outline(rng: np.random.Generator, middle: npt.NDArray, radius: float, kind: int, turn: float) -> npt.NDArray:
    if kind == 0:
        return ellipse(middle, radius * rng.uniform(0.8, 1.0, 2), turn)
    if kind == 1:
        return regular(middle, radius, int(rng.choice([3, 4, 5, 6, 8])), turn)
    if kind == GEAR:
        return regular(middle, radius, 4 * int(rng.integers(5, 16)), turn, teeth=rng.uniform(0.08, 0.25))
    return capsule(middle, radius * rng.uniform(0.8, 1.4), radius * rng.uniform(0.2, 0.6), turn)


def _build(rng: np.random.Generator, texture: npt.NDArray | None) -> list[Piece]:
    """A part of radius 0.4 about the origin, its body first: plates with holes, rings, gears, pins with a thread."""
    kind, turn = int(rng.integers(4)), rng.uniform(0, np.pi)
    outline, body = _outline(rng, np.zeros(2), 0.4, kind, turn), colour(rng)
    edge, shade = rng.uniform(-60, 60), rng.choice([0, rng.uniform(10, 60)])
    pieces, inner = [Piece(outline, body, texture, edge=edge, shade=shade)], colour(rng)
    return pieces + (_thread(rng, outline, inner, turn) if kind == PIN else _holes(rng, texture, inner, turn))


def _thread(rng: np.random.Generator, outline: npt.NDArray, inner: Colour, turn: float) -> list[Piece]:
    """Lines across a pin."""
    along = np.array([np.cos(turn), np.sin(turn)])
    reach, width = outline @ along, np.ptp(outline @ (along[::-1] * [-1, 1])) / 2
    across = along[::-1] * np.array([-1, 1]) * width
    places = np.linspace(reach.min() * 0.8, reach.max() * rng.uniform(0, 0.8), int(rng.integers(2, 14)))
    ends = [np.stack([along * place - across, along * place + across]) for place in places]
    return [Piece(line, inner, thickness=rng.uniform(0.008, 0.03)) for line in ends]


def _holes(rng: np.random.Generator, texture: npt.NDArray | None, inner: Colour, turn: float) -> list[Piece]:
    """Rings about the middle, and holes or bolts on a circle."""
    pieces = []
    for radius in sorted(rng.uniform(0.05, 0.3, rng.integers(0, 4)), reverse=True):
        material = texture if rng.random() < 0.3 else None  # noqa: PLR2004
        circle = ellipse(np.zeros(2), np.array([radius, radius]))
        pieces.append(Piece(circle, colour(rng), material, edge=rng.uniform(-50, 50)))
    count, ring, hole = int(rng.choice([0, 2, 3, 4, 6, 8])), rng.uniform(0.15, 0.3), rng.uniform(0.02, 0.05)
    angles = turn + np.arange(count) * 2 * np.pi / max(1, count)
    places = ring * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return pieces + [Piece(ellipse(place, np.array([hole, hole])), inner, edge=-30) for place in places]


def _placed(pieces: Sequence[Piece], place: npt.NDArray, scale: float, turn: float = 0.0) -> list[Piece]:
    c, s = np.cos(turn), np.sin(turn)
    matrix = scale * np.array([[c, s], [-s, c]])
    return [Piece(p.points @ matrix + place, p.colour, p.texture, p.thickness * scale, p.edge, p.shade) for p in pieces]


def part(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """One part in the middle."""
    pieces = _placed(_build(rng, _material(textures, rng, size)), MIDDLE, rng.uniform(0.7, 1.15))
    names = ("screw", "metal nut", "gear", "washer", "capsule", "bottle", "part", "pill", "bolt", "lens")
    return names, _ground(textures, rng, size), pieces, range(1, len(pieces)), ()


def array_of(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Equal parts in rows and columns."""
    made, count = _build(rng, _material(textures, rng, size)), int(rng.integers(2, 6))
    step, bodies = 1 / count, []
    pieces: list[Piece] = []
    for row in range(count):
        for column in range(count):
            bodies.append(len(pieces))
            pieces += _placed(made, np.array([column + 0.5, row + 0.5]) * step, step * 0.95)
    loose = bodies if len(made) > 1 and rng.random() < 0.5 else range(len(pieces))  # noqa: PLR2004
    return (
        ("connector", "blister pack", "tray", "keyboard", "component", "chip"),
        _ground(textures, rng, size),
        pieces,
        loose,
        (),
    )


def scattered(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Equal parts lying as they fall."""
    made, scale, pieces = _build(rng, _material(textures, rng, size)), rng.uniform(0.2, 0.5), []
    places: list[npt.NDArray] = []
    for _ in range(40):
        place = rng.uniform(0.1, 0.9, 2)
        if all(np.linalg.norm(place - other) > scale * 0.85 for other in places):
            places.append(place)
            pieces += _placed(made, place, scale, rng.uniform(0, 2 * np.pi))
    return (
        ("screws", "nuts", "pills", "candy", "hazelnut", "rice"),
        _ground(textures, rng, size),
        pieces,
        range(len(pieces)),
        (),
    )


def cable(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """A cut through a cable: cores with strands in a sheath."""
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
    return ("cable", "wire", "pipe", "hose"), _ground(textures, rng, size), pieces, range(1, len(pieces)), ()


def board(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """A circuit board: traces at right and half right angles, pads and chips; in colour or as a mask."""
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
    """A label: bars of a code, lines of strokes like letters, a frame."""
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
        _ground(textures, rng, size),
        [paper, *pieces],
        range(1, 1 + len(pieces)),
        (),
    )

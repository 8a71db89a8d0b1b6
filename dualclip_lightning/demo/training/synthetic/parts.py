"""Parts made of pieces: single, in rows, or scattered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.training.synthetic.grounds import Ground, Textures, brushed, flat, photograph, tone
from dualclip_lightning.demo.training.synthetic.pieces import Colour, Piece, capsule, ellipse, regular

Product = tuple[tuple[str, ...], Ground, Sequence[Piece], Sequence[int], Sequence[str]]


GEAR, PIN = 2, 3


MIDDLE = np.array([0.5, 0.5])


def colour(rng: np.random.Generator) -> Colour:
    """Draw a colour for a piece."""
    return tuple(tone(rng))


def random_ground(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    """Draw the ground on which parts lie, which is mostly a plain surface."""
    if rng.random() < 0.6:  # noqa: PLR2004
        return flat(textures, rng, size)
    return photograph(textures, rng, size)[1]


def random_material(textures: Textures, rng: np.random.Generator, size: int) -> npt.NDArray | None:
    """Draw a photograph or brushed metal as the texture of pieces, or None for a plain colour."""
    if rng.random() < 0.5:  # noqa: PLR2004
        return None
    return (brushed(textures, rng, size) if rng.random() < 0.4 else photograph(textures, rng, size)[1])(rng)  # noqa: PLR2004


def _outline(rng: np.random.Generator, middle: npt.NDArray, radius: float, kind: int, turn: float) -> npt.NDArray:
    if kind == 0:
        return ellipse(middle, radius * rng.uniform(0.8, 1.0, 2), turn)
    if kind == 1:
        return regular(middle, radius, int(rng.choice([3, 4, 5, 6, 8])), turn)
    if kind == GEAR:
        return regular(middle, radius, 4 * int(rng.integers(5, 16)), turn, teeth=rng.uniform(0.08, 0.25))
    return capsule(middle, radius * rng.uniform(0.8, 1.4), radius * rng.uniform(0.2, 0.6), turn)


def _build(rng: np.random.Generator, texture: npt.NDArray | None) -> list[Piece]:
    """Draw a part of radius 0.4 about the origin, body first: a plate with holes, a ring, a gear or a threaded pin."""
    kind, turn = int(rng.integers(4)), rng.uniform(0, np.pi)
    outline, body = _outline(rng, np.zeros(2), 0.4, kind, turn), colour(rng)
    edge, shade = rng.uniform(-60, 60), rng.choice([0, rng.uniform(10, 60)])
    pieces, inner = [Piece(outline, body, texture, edge=edge, shade=shade)], colour(rng)
    return pieces + (_thread(rng, outline, inner, turn) if kind == PIN else _holes(rng, texture, inner, turn))


def _thread(rng: np.random.Generator, outline: npt.NDArray, inner: Colour, turn: float) -> list[Piece]:
    """Draw the lines across a pin."""
    along = np.array([np.cos(turn), np.sin(turn)])
    reach, width = outline @ along, np.ptp(outline @ (along[::-1] * [-1, 1])) / 2
    across = along[::-1] * np.array([-1, 1]) * width
    places = np.linspace(reach.min() * 0.8, reach.max() * rng.uniform(0, 0.8), int(rng.integers(2, 14)))
    ends = [np.stack([along * place - across, along * place + across]) for place in places]
    return [Piece(line, inner, thickness=rng.uniform(0.008, 0.03)) for line in ends]


def _holes(rng: np.random.Generator, texture: npt.NDArray | None, inner: Colour, turn: float) -> list[Piece]:
    """Draw rings about the centre, and holes or bolts on a circle."""
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
    """Draw one part in the centre."""
    pieces = _placed(_build(rng, random_material(textures, rng, size)), MIDDLE, rng.uniform(0.7, 1.15))
    names = ("screw", "metal nut", "gear", "washer", "capsule", "bottle", "part", "pill", "bolt", "lens")
    return names, random_ground(textures, rng, size), pieces, range(1, len(pieces)), ()


def array_of(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw equal parts in rows and columns."""
    made, count = _build(rng, random_material(textures, rng, size)), int(rng.integers(2, 6))
    step, bodies = 1 / count, []
    pieces: list[Piece] = []
    for row in range(count):
        for column in range(count):
            bodies.append(len(pieces))
            pieces += _placed(made, np.array([column + 0.5, row + 0.5]) * step, step * 0.95)
    loose = bodies if len(made) > 1 and rng.random() < 0.5 else range(len(pieces))  # noqa: PLR2004
    return (
        ("connector", "blister pack", "tray", "keyboard", "component", "chip"),
        random_ground(textures, rng, size),
        pieces,
        loose,
        (),
    )


def scattered(textures: Textures, rng: np.random.Generator, size: int) -> Product:
    """Draw equal parts at random positions and orientations."""
    made, scale, pieces = _build(rng, random_material(textures, rng, size)), rng.uniform(0.2, 0.5), []
    places: list[npt.NDArray] = []
    for _ in range(40):
        place = rng.uniform(0.1, 0.9, 2)
        if all(np.linalg.norm(place - other) > scale * 0.85 for other in places):
            places.append(place)
            pieces += _placed(made, place, scale, rng.uniform(0, 2 * np.pi))
    return (
        ("screws", "nuts", "pills", "candy", "hazelnut", "rice"),
        random_ground(textures, rng, size),
        pieces,
        range(len(pieces)),
        (),
    )

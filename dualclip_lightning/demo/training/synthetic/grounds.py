"""Grounds under the pieces of a scene, or filling it: photographs of materials and procedural surfaces.

Each maker draws its parameters once and returns a function that paints an image [S, S, 3] with them. That function
takes its own generator, so that views differ like different places on one material.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image

Textures = Mapping[str, Sequence[Image]]
"""Photographs by material, bytes [S, S, 3]."""
Ground = Callable[[np.random.Generator], Image]


def tone(rng: np.random.Generator) -> npt.NDArray:
    """Draw a colour, often a grey."""
    grey = rng.uniform(15, 240)
    return np.clip(grey + rng.normal(0, rng.choice([2, 30]), 3), 0, 255)


def photograph(textures: Textures, rng: np.random.Generator, size: int) -> tuple[str, Ground]:
    """Return the name of a material, and its photograph shifted and mirrored, with a fixed scale and tint."""
    name = str(rng.choice(sorted(textures)))
    image = textures[name][int(rng.integers(len(textures[name])))]
    part = int(size * rng.uniform(0.45, 1.0))
    tint = np.clip(rng.normal(1, rng.choice([0.02, 0.2]), 3), 0.4, 1.6)

    def paint(generator: np.random.Generator) -> Image:
        moved = np.roll(image, tuple(generator.integers(0, size, 2)), (0, 1))
        mirrored = moved[:: generator.choice([-1, 1]), :: generator.choice([-1, 1])][:part, :part]
        return np.clip(cv2.resize(mirrored, (size, size), interpolation=cv2.INTER_CUBIC) * tint, 0, 255).astype(
            np.uint8
        )

    return name, paint


def flat(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    """Return a ground of one tone with faint, smooth unevenness, or a photograph with low contrast."""
    colour, cells, strength = tone(rng), int(rng.integers(3, 40)), rng.uniform(0, 8)
    _, material = photograph(textures, rng, size)
    contrast = rng.choice([0.0, rng.uniform(0.05, 0.3)])

    def paint(generator: np.random.Generator) -> Image:
        uneven = cv2.resize(generator.normal(0, strength, (cells, cells)).astype(np.float32), (size, size))
        grain = material(generator).astype(np.float32) - 128 if contrast else 0
        return np.clip(colour + uneven[..., None] + contrast * grain, 0, 255).astype(np.uint8)

    return paint


def brushed(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    """Return metal with fine lines, straight in one direction or around a centre."""
    del textures
    colour, strength, length = tone(rng) * 0.6 + 80, rng.uniform(4, 22), int(rng.integers(15, 90)) | 1
    round_, upright = rng.random() < 0.25, rng.random() < 0.5  # noqa: PLR2004
    centre = rng.uniform(0.3, 0.7, 2) * size

    def paint(generator: np.random.Generator) -> Image:
        lines = cv2.blur(generator.standard_normal((size, size)).astype(np.float32), (length, 1))
        lines *= strength / (lines.std() + 1e-6)
        if round_:
            polar = cv2.WARP_POLAR_LINEAR | cv2.WARP_INVERSE_MAP | cv2.WARP_FILL_OUTLIERS
            lines = cv2.warpPolar(lines.T.copy(), (size, size), tuple(centre), size * 0.8, polar)
        elif upright:
            lines = lines.T
        return np.clip(colour + lines[..., None], 0, 255).astype(np.uint8)

    return paint


def turned(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    """Return a cylinder lit from one side, with grooves, segments or a thread, and often a dark margin."""
    del textures
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    if rng.random() < 0.5:  # noqa: PLR2004
        y, x = x, y
    colour = tone(rng) * 0.5 + 70
    middle, half = 0.5 + rng.normal(0, 0.05), rng.uniform(0.3, 0.7)
    across = np.clip((y - middle) / half, -1, 1)
    period, slant, depth = rng.uniform(0.06, 0.4), rng.choice([0.0, rng.uniform(-0.6, 0.6)]), rng.uniform(10, 60)
    sharp, shine, width = rng.uniform(0.5, 6), rng.uniform(20, 120), rng.uniform(0.05, 0.4)
    highlight, margin = rng.uniform(-0.6, 0.6), rng.uniform(0, 40)
    light = 0.35 + 0.65 * np.sqrt(1 - across**2)
    gloss = shine * np.exp(-(((across - highlight) / width) ** 2))
    outside = np.abs(y - middle) > half

    def paint(generator: np.random.Generator) -> Image:
        wave = np.cos(2 * np.pi * ((x + slant * y) / period + generator.uniform()))
        groove = depth * np.tanh(sharp * wave) / np.tanh(sharp)
        grain = cv2.GaussianBlur(generator.normal(0, 9, (size, size)).astype(np.float32), (0, 0), 1.0)
        surface = (colour + groove[..., None]) * light[..., None] + (gloss + grain)[..., None]
        return np.clip(np.where(outside[..., None], margin, surface), 0, 255).astype(np.uint8)

    return paint


def stripes(textures: Textures, rng: np.random.Generator, size: int) -> Ground:
    """Return stripes, checks, a mesh or a weave in two tones or materials."""
    one, two = tone(rng), tone(rng)
    _, material = photograph(textures, rng, size)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    turn = rng.choice([0.0, np.pi / 4, rng.uniform(0, np.pi)])
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    first, second, sharp = rng.uniform(0.03, 0.2), rng.uniform(0.03, 0.2), rng.uniform(1, 8)
    kind, grain = rng.integers(4), rng.uniform(0, 0.4)

    def paint(generator: np.random.Generator) -> Image:
        phase = generator.uniform(0, 1, 2)
        a, b = np.cos(2 * np.pi * (u / first + phase[0])), np.cos(2 * np.pi * (v / second + phase[1]))
        mixed = (a, a * b, np.maximum(a, b), np.where(np.sign(a) * np.sign(b) > 0, np.abs(a), -np.abs(b)))[kind]
        weight = (0.5 + 0.5 * np.tanh(sharp * mixed) / np.tanh(sharp))[..., None]
        texture = grain * (material(generator).astype(np.float32) - 128)
        return np.clip(one * weight + two * (1 - weight) + texture, 0, 255).astype(np.uint8)

    return paint

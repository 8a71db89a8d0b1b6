"""Pieces of scenes: polygons, strokes and words, each with its material, drawn one over the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from dualclip_lightning.demo.data.shapes import Image

FINE = 16
"""Subpixel resolution of coordinates passed to OpenCV, a power of two: 4 bits."""
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Piece:
    """A shape with an outline and a material, in units of the image's side."""

    points: npt.NDArray
    """Outline [n, 2] (x, y), or a line if `thickness` is not 0."""
    colour: Colour
    texture: Image | None = None
    """Material [S, S, 3] used instead of a plain colour; the colour tints it."""
    thickness: float = 0.0
    edge: float = 0.0
    """Brightness of the outline relative to the piece, in levels; negative values are darker."""
    shade: float = 0.0
    """Strength of a gradient over the piece, as on a round object, in levels."""

    def moved(self, shift: npt.NDArray, turn: float = 0.0) -> Piece:
        """Return the piece shifted, and rotated about its centre."""
        middle = self.points.mean(axis=0)
        c, s = np.cos(turn), np.sin(turn)
        return replace(self, points=(self.points - middle) @ np.array([[c, s], [-s, c]]) + middle + shift)

    def size(self) -> npt.NDArray:
        """Width and height."""
        return np.ptp(self.points, axis=0) + self.thickness


def paint_piece(canvas: Image, piece: Piece) -> None:
    """Draw a piece over an image [S, S, 3] in place."""
    side = len(canvas)
    points = np.rint(piece.points * side * FINE).astype(np.int32)
    low, high = points.min(axis=0) // FINE, points.max(axis=0) // FINE
    pad = int(piece.thickness * side) + 3
    left, top = np.clip(low - pad, 0, side)
    right, bottom = np.clip(high + pad + 1, 0, side)
    if right <= left or bottom <= top:
        return
    window, moved = canvas[top:bottom, left:right], points - np.array([left, top]) * FINE
    stencil = np.zeros(window.shape[:2], np.uint8)
    if piece.thickness:
        width = max(1, round(piece.thickness * side))
        cv2.polylines(stencil, [moved], isClosed=False, color=255, thickness=width, lineType=cv2.LINE_AA, shift=4)
    else:
        cv2.fillPoly(stencil, [moved], 255, lineType=cv2.LINE_AA, shift=4)
    window[:] = _blend(window, _material(piece, window.shape, (top, left)), stencil)
    if piece.edge:
        rim = np.zeros_like(stencil)
        cv2.polylines(rim, [moved], isClosed=not piece.thickness, color=255, thickness=1, lineType=cv2.LINE_AA, shift=4)
        window[:] = _blend(window, np.clip(np.array(piece.colour) + piece.edge, 0, 255), rim)


def _blend(under: Image, over: npt.NDArray, stencil: npt.NDArray) -> Image:
    weight = stencil[..., None].astype(np.float32) / 255
    return (under * (1 - weight) + over * weight).astype(np.uint8)


def _material(piece: Piece, shape: tuple[int, ...], corner: tuple[int, int]) -> npt.NDArray:
    height, width = shape[:2]
    fill: npt.NDArray = np.broadcast_to(np.array(piece.colour, np.float32), (height, width, 3))
    if piece.texture is not None:
        part = piece.texture[corner[0] : corner[0] + height, corner[1] : corner[1] + width].astype(np.float32)
        fill = part * (np.array(piece.colour, np.float32) / 160)
    if piece.shade:
        fill = fill + piece.shade * np.cos(np.linspace(-np.pi, np.pi, width, dtype=np.float32))[None, :, None]
    return np.clip(fill, 0, 255)


def regular(middle: npt.NDArray, radius: float, corners: int, turn: float = 0.0, teeth: float = 0.0) -> npt.NDArray:
    """Return a regular polygon [n, 2]; `teeth` moves every second corner inwards by that share, as on a gear."""
    angles = turn + np.arange(corners) * 2 * np.pi / corners
    lengths = radius * np.where(np.arange(corners) // 2 % 2, 1 - teeth, 1.0)
    return middle + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ellipse(middle: npt.NDArray, radii: npt.NDArray, turn: float = 0.0) -> npt.NDArray:
    """Return an ellipse as a polygon [48, 2]."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    return middle + (radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)) @ np.array([[c, s], [-s, c]])


def rectangle(low: npt.NDArray, size: npt.NDArray) -> npt.NDArray:
    """Return the corners [4, 2] of an axis-aligned rectangle."""
    return np.asarray(low) + np.asarray(size) * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def capsule(middle: npt.NDArray, length: float, radius: float, turn: float) -> npt.NDArray:
    """Return a rectangle with round ends [n, 2]."""
    half = np.linspace(-np.pi / 2, np.pi / 2, 16)
    end = np.stack([np.cos(half) * radius + length / 2, np.sin(half) * radius], axis=1)
    c, s = np.cos(turn), np.sin(turn)
    return np.concatenate([end, -end]) @ np.array([[c, s], [-s, c]]) + middle

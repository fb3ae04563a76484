"""Recognise quads that are rectangles, for formats of annotation tools that turn boxes by a handle."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Rectangle", "as_rectangle", "corners_of"]

# How far a corner may be from that of a rectangle, as a share of the diagonal: enough for rounding, not for drawing.
_ROUNDING = 1e-9


class Rectangle(NamedTuple):
    """A rectangle by its first corner.

    Attributes:
        x: The x of the first corner.
        y: The y of the first corner.
        w: The distance from the first to the second corner.
        h: The distance from the second to the third corner.
        angle: The direction from the first to the second corner, radians, clockwise on the screen, in (-pi, pi].
    """

    x: float
    y: float
    w: float
    h: float
    angle: float


def as_rectangle(quad: np.ndarray) -> Rectangle | None:
    """Return a quad (4, 2) as a rectangle if its corners form one, clockwise on the screen; else None."""
    first, second, third, fourth = (complex(x, y) for x, y in quad.tolist())
    across, down = second - first, third - second
    w, h = abs(across), abs(down)
    tolerance = _ROUNDING * max(math.hypot(w, h), *map(abs, (first, second, third)))
    if abs(first + down - fourth) > tolerance or not w:
        return None
    if abs(across / w * complex(0, h) - down) > tolerance:  # a quarter turn of the first side, clockwise: y points down
        return None
    return Rectangle(first.real, first.imag, w, h, math.atan2(across.imag, across.real))


def corners_of(rectangle: Rectangle) -> list[float]:
    """Return its corners as eight numbers, the first one first, clockwise on the screen."""
    x, y, w, h, angle = rectangle
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = (w * cos, w * sin), (-h * sin, h * cos)
    offsets = [(0.0, 0.0), across, (across[0] + down[0], across[1] + down[1]), down]
    return [value for dx, dy in offsets for value in (x + dx, y + dy)]

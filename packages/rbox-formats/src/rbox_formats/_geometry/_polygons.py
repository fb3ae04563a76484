"""Convert outlines of any number of corners to quads, and find quads that cross themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rbox_formats._geometry._inputs import takes
from rbox_formats._geometry._shapes import canonical_le90, rbox_to_quad
from rbox_formats.arrays import to_numpy
from rbox_formats.errors import FormatsError
from rbox_formats.typing import Flags, Quads


def quad_around(corners: ArrayLike) -> list[float]:
    """Return an outline as a quad: four corners unchanged, else the corners of the smallest rectangle around it.

    A side of that rectangle lies on an edge of the convex hull (Freeman and Shapira, 1975). Along the hull, the edges'
    directions turn one way only, so that bisection finds the farthest corner in a direction: O(n log n) in all.

    Every outline is closed. If it has five corners or more and the last one repeats the first, the last one is left
    out. Four corners are taken as the quad, also if two of them are the same.

    >>> from rbox_formats import quad_around
    >>> quad_around([0, 0, 4, 0, 4, 2, 2, 2, 0, 2])
    [0.0, 0.0, 4.0, 0.0, 4.0, 2.0, 0.0, 2.0]

    Args:
        corners: x1, y1, x2, y2, ... of at least one corner; also as rows (n, 2), and as an array.

    Returns:
        Eight numbers. For two corners, or corners on a line, a rectangle of height zero; for one corner, that point
        four times.

    Raises:
        FormatsError: If the corners are not numbers, there are none, or their count is odd.
    """
    numbers: Any = corners
    if type(numbers) is not list or not {*map(type, numbers)} <= {int, float}:
        numbers = to_numpy(corners, "corners").ravel().tolist()
    if not numbers or len(numbers) % 2:
        raise FormatsError(f"expected corners as x1, y1, x2, y2, ..., got {len(numbers)} numbers")
    if len(numbers) > 8 and numbers[:2] == numbers[-2:]:
        numbers = numbers[:-2]
    if len(numbers) == 8:
        return list(numbers)
    hull = _hull(numbers)
    if len(hull) == 1:
        return [*hull[0].tolist()] * 4
    points = hull - hull[0]
    edges = np.roll(points, -1, axis=0) - points
    u = edges / np.hypot(edges[:, 0], edges[:, 1])[:, None]
    v = np.stack([-u[:, 1], u[:, 0]], axis=-1)
    turned = np.mod(np.arctan2(edges[:, 1], edges[:, 0]) - math.atan2(edges[0, 1], edges[0, 0]), 2 * math.pi)

    def farthest(directions: np.ndarray, turn: float) -> np.ndarray:
        """Return how far the hull reaches in each direction; the directions are those of the edges, turned."""
        # The farthest corner is where the edges pass the direction's perpendicular, or beside it because of rounding.
        at = np.searchsorted(turned, np.mod(turned + turn + math.pi / 2, 2 * math.pi))
        near = points[(at[:, None] + np.array([-1, 0, 1])) % len(points)]
        return np.sum(near * directions[:, None], axis=-1).max(axis=1)

    u1, v1 = farthest(u, 0), farthest(v, math.pi / 2)
    u0, v0 = -farthest(-u, math.pi), -farthest(-v, math.pi * 1.5)
    w, h = u1 - u0, v1 - v0
    i = int((w * h).argmin())
    centre = hull[0] + u[i] * (u0[i] + u1[i]) / 2 + v[i] * (v0[i] + v1[i]) / 2
    box = canonical_le90(np.array([*centre, w[i], h[i], math.atan2(u[i, 1], u[i, 0])]))
    return [float(value) for value in rbox_to_quad(box).ravel()]


def upright_quad(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """Return the corners of an upright box, clockwise on the screen from the upper left one: eight numbers."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


@takes("quads")
def crosses_itself(quads: Quads) -> Flags:
    """Return which quads cross themselves: two opposite sides cross between their ends.

    >>> crosses_itself([[[0, 0], [4, 0], [4, 2], [0, 2]], [[0, 0], [4, 2], [4, 0], [0, 2]]]).tolist()
    [False, True]

    Args:
        quads: (..., 4, 2).

    Returns:
        (...) bool. False for a quad whose corners lie on a line, or with two equal corners.

    Raises:
        FormatsError: If the quads are not numbers of that shape.
    """
    a, b, c, d = (quads[..., i, :] for i in range(4))
    return _cross(a, b, c, d) | _cross(b, c, d, a)


def _cross(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Return which lines from a to b and from c to d, (..., 2) each, cross between their ends."""

    def side(p: Any, q: Any, r: Any) -> Any:
        u, v = q - p, r - p
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def _hull(corners: Sequence[float]) -> np.ndarray:
    """Return the corners (N, 2) of the convex hull, from x towards y (Andrew's monotone chain)."""
    ordered = sorted(set(zip(corners[0::2], corners[1::2], strict=True)))
    if len(ordered) < 3:
        return np.array(ordered, dtype=np.float64)

    def half(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in points:
            while len(chain) >= 2:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain

    return np.array(half(ordered)[:-1] + half(ordered[::-1])[:-1], dtype=np.float64)

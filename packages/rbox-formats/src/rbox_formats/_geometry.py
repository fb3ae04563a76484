"""Rotated boxes, quads and upright boxes, from one to the other.

A box is (cx, cy, w, h, angle): pixels, radians, x to the right, y down, angle positive clockwise on the screen, in
`le90`: w >= h and the angle in [-pi/2, pi/2); a square's in [-pi/4, pi/4). Every function keeps leading shapes, works
on numpy arrays and torch tensors through the array API, and gives back the kind that it got.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device

from rbox_formats._typing import Boxes, HBoxes, Quads, Values

# The corners of a box of size 2x2 around the origin, in the order that quads are given in.
_UNIT_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))

# Sides that differ by less than this share are those of a square whose corners were rounded.
_SQUARE = 1e-9

# Pairs of corners whose line may carry a side of the minimum-area rectangle: the sides first, so that a rectangle's own
# direction wins a tie, then the diagonals, which are hull edges where a quad is concave or crosses itself.
_CORNER_PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))


def _unstack(array: Any) -> tuple[Any, ...]:
    return tuple(array[..., i] for i in range(array.shape[-1]))


def canonical_le90(boxes: Boxes) -> Boxes:
    """The same rectangles in the `le90` range.

    Args:
        boxes: (..., 5), any finite angle, sides in any order.

    Returns:
        (..., 5) with w >= h, angle in [-pi/2, pi/2), and in [-pi/4, pi/4) where w equals h up to rounding.
    """
    xp = array_namespace(boxes)
    cx, cy, w, h, angle = _unstack(boxes)
    swapped = h > w
    long, short = xp.where(swapped, h, w), xp.where(swapped, w, h)
    angle = xp.where(swapped, angle + math.pi / 2, angle)
    half_turns = _wrap(angle, math.pi, xp)
    quarter_turns = _wrap(angle, math.pi / 2, xp)
    is_square = long - short <= _SQUARE * long
    return xp.stack([cx, cy, long, short, xp.where(is_square, quarter_turns, half_turns)], axis=-1)


def _wrap(angle: Any, period: float, xp: Any) -> Any:
    """The angle in [-period/2, period/2), up to multiples of the period; one that is there already is left as it is."""
    lower, upper = -period / 2, period / 2
    wrapped = angle - xp.floor((angle - lower) / period) * period
    # The subtraction rounds: a hair below the lower end, or onto the upper one, both mean the lower end.
    wrapped = xp.where((wrapped < lower) | (wrapped >= upper), xp.zeros_like(wrapped) + lower, wrapped)
    return xp.where((angle >= lower) & (angle < upper), angle, wrapped)


def rbox_to_quad(boxes: Boxes) -> Quads:
    """The corners of rotated boxes.

    Args:
        boxes: (..., 5) as (cx, cy, w, h, angle).

    Returns:
        (..., 4, 2): the corners (-w,-h), (w,-h), (w,h), (-w,h) over two, turned by the angle, around the centre; that
        is clockwise on the screen. Differentiable.
    """
    xp = array_namespace(boxes)
    cx, cy, w, h, angle = _unstack(boxes)
    cos, sin = xp.cos(angle), xp.sin(angle)
    corners = []
    for x_sign, y_sign in _UNIT_CORNERS:
        x, y = w * (x_sign / 2), h * (y_sign / 2)
        corners.append(xp.stack([cx + x * cos - y * sin, cy + x * sin + y * cos], axis=-1))
    return xp.stack(corners, axis=-2)


def quad_to_rbox(quads: Quads) -> Boxes:
    """The rotated rectangle of least area around each quad.

    One side of it lies on an edge of the convex hull (Freeman and Shapira, 1975), and every hull edge joins two of the
    four corners: so of the six directions between corners the best is the answer, whatever the order of the corners,
    for concave and self-crossing quads as well. A quad whose corners lie on a line gives a box of height zero along it,
    a point one of size zero at angle zero.

    Args:
        quads: (..., 4, 2), finite.

    Returns:
        (..., 5) in `le90`.
    """
    xp = array_namespace(quads)
    # Relative to the first corner, so that far-off coordinates do not eat the digits of small shapes.
    origin = quads[..., :1, :]
    local = quads - origin
    edges = xp.stack([local[..., j, :] - local[..., i, :] for i, j in _CORNER_PAIRS], axis=-2)
    lengths = xp.sqrt(xp.sum(edges * edges, axis=-1))
    is_point = lengths == 0
    safe = xp.where(is_point, xp.ones_like(lengths), lengths)
    ux = xp.where(is_point, xp.ones_like(lengths), edges[..., 0] / safe)
    uy = edges[..., 1] / safe

    # Each corner along and across each of the six directions: (..., 6, 4).
    x, y = local[..., None, :, 0], local[..., None, :, 1]
    along = x * ux[..., None] + y * uy[..., None]
    across = y * ux[..., None] - x * uy[..., None]
    along_min, along_max = xp.min(along, axis=-1), xp.max(along, axis=-1)
    across_min, across_max = xp.min(across, axis=-1), xp.max(across, axis=-1)
    w, h = along_max - along_min, across_max - across_min

    # Where every area is zero the longest direction is the line that the corners lie on.
    areas = w * h
    flat = xp.max(areas, axis=-1, keepdims=True) == 0
    best = xp.argmin(xp.where(flat, -w, areas), axis=-1)
    chosen = best[..., None] == xp.arange(len(_CORNER_PAIRS), device=device(quads))

    def pick(values: Any) -> Any:
        return xp.sum(xp.where(chosen, values, xp.zeros_like(values)), axis=-1)

    u, v = pick((along_min + along_max) / 2), pick((across_min + across_max) / 2)
    ux, uy, w, h = pick(ux), pick(uy), pick(w), pick(h)
    cx = origin[..., 0, 0] + u * ux - v * uy
    cy = origin[..., 0, 1] + u * uy + v * ux
    return canonical_le90(xp.stack([cx, cy, w, h, xp.atan2(uy, ux)], axis=-1))


def rbox_to_hbox(boxes: Boxes) -> HBoxes:
    """The upright boxes around rotated ones.

    Args:
        boxes: (..., 5) as (cx, cy, w, h, angle).

    Returns:
        (..., 4) as (x_min, y_min, x_max, y_max).
    """
    xp = array_namespace(boxes)
    cx, cy, w, h, angle = _unstack(boxes)
    cos, sin = xp.abs(xp.cos(angle)), xp.abs(xp.sin(angle))
    half_w, half_h = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return xp.stack([cx - half_w, cy - half_h, cx + half_w, cy + half_h], axis=-1)


def hbox_to_rbox(hboxes: HBoxes) -> Boxes:
    """Upright boxes as rotated ones.

    Args:
        hboxes: (..., 4) as (x_min, y_min, x_max, y_max).

    Returns:
        (..., 5) in `le90`: a box taller than wide lies at -pi/2.
    """
    xp = array_namespace(hboxes)
    x0, y0, x1, y1 = _unstack(hboxes)
    return canonical_le90(xp.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, xp.zeros_like(x0)], axis=-1))


def quad_area(quads: Quads) -> Values:
    """The area inside quads by the shoelace formula.

    Args:
        quads: (..., 4, 2), clockwise or counter-clockwise. The two halves of a self-crossing one count against each
            other.

    Returns:
        (...,), never negative.
    """
    xp = array_namespace(quads)
    # The diagonals' cross product over two is the shoelace sum of four corners, free of far-off coordinates.
    p, q = quads[..., 2, :] - quads[..., 0, :], quads[..., 3, :] - quads[..., 1, :]
    return xp.abs(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]) / 2

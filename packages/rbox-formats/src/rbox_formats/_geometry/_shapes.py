"""Convert between rotated boxes, quads and upright boxes.

A box is (cx, cy, w, h, angle): pixels, radians, x to the right, y down, angle positive clockwise on the screen, in
`le90`: w >= h and the angle in [-pi/2, pi/2); for a square in [-pi/4, pi/4). Every function keeps leading shapes,
accepts what `rbox_formats.arrays` describes, works on it through the array API, and returns the kind of array that it
got. Another shape, or an input that is not an array of numbers, raises a `FormatsError`.
"""

from __future__ import annotations

from typing import Any, Literal

from array_api_compat import array_namespace, device

from rbox_formats._geometry._conventions import LE90, convert
from rbox_formats._geometry._inputs import check_choice, takes
from rbox_formats._geometry._minimum_rectangle import around_quads, in_blocks
from rbox_formats.typing import Boxes, HBoxes, Quads, Values

# How many quads numpy works on at a time, so that the result of each step is still in the processor's cache.
_BLOCK = 4096


# For the corner that a quad begins with: the coordinate that is smallest, and the one that decides between equals.
_STARTS = {"topmost": (1, 0), "leftmost": (0, 1)}


def _unstack(array: Any) -> tuple[Any, ...]:
    return tuple(array[..., i] for i in range(array.shape[-1]))


@takes("boxes")
def canonical_le90(boxes: Boxes) -> Boxes:
    """Convert boxes to the `le90` range.

    >>> from rbox_formats import canonical_le90
    >>> canonical_le90([[50, 40, 10, 30, 0]]).round(4).tolist()
    [[50.0, 40.0, 30.0, 10.0, -1.5708]]

    Args:
        boxes: (..., 5), any finite angle, sides in any order.

    Returns:
        (..., 5) with w >= h, angle in [-pi/2, pi/2), and in [-pi/4, pi/4) where w equals h up to rounding; see
        `convert`.
    """
    return convert(boxes, LE90, LE90)


@takes("boxes")
def rbox_to_quad(boxes: Boxes) -> Quads:
    """Return the corners of rotated boxes.

    >>> from rbox_formats import rbox_to_quad
    >>> rbox_to_quad([[50, 40, 30, 10, 0]]).tolist()
    [[[35.0, 35.0], [65.0, 35.0], [65.0, 45.0], [35.0, 45.0]]]

    Args:
        boxes: (..., 5) as (cx, cy, w, h, angle).

    Returns:
        (..., 4, 2): the corners (-w,-h), (w,-h), (w,h), (-w,h) over two, turned by the angle, around the centre:
        clockwise on the screen. Differentiable.
    """
    xp = array_namespace(boxes)
    cx, cy, w, h, angle = _unstack(boxes)
    half_cos, half_sin = xp.cos(angle) / 2, xp.sin(angle) / 2
    ux, uy, vx, vy = w * half_cos, w * half_sin, h * half_sin, h * half_cos
    left, right, top, bottom = cx - ux, cx + ux, cy - uy, cy + uy  # the middles of the short sides
    corners = (left + vx, top - vy, right + vx, bottom - vy, right - vx, bottom + vy, left - vx, top + vy)
    return xp.reshape(xp.stack(corners, axis=-1), (*boxes.shape[:-1], 4, 2))


@takes("quads")
def quad_to_rbox(quads: Quads) -> Boxes:
    """Return the rotated rectangle of least area around each quad.

    It depends on the corners and not on their order: the rectangle is around the convex hull, also for concave and
    self-crossing quads. If several rectangles have the same area (around an acute triangle, which the hull of a concave
    quad is), one of them is returned. Corners on a line give a box of height zero along it, and four equal corners a
    box of size zero at angle zero.

    One side of the rectangle lies along a side or a diagonal of the quad (Freeman and Shapira, 1975); each of the six
    is tried. In numpy it needs a few megabytes beside its result, for any N.

    >>> from rbox_formats import quad_to_rbox
    >>> quad_to_rbox([[[35, 35], [65, 35], [65, 45], [35, 45]]]).tolist()
    [[50.0, 40.0, 30.0, 10.0, 0.0]]

    Args:
        quads: (..., 4, 2), finite.

    Returns:
        (..., 5) in `le90`. Differentiable where the sides are not equal and the area is not zero.
    """
    xp = array_namespace(quads)
    boxes = in_blocks(lambda rows: around_quads(rows, xp), xp.reshape(quads, (-1, 4, 2)), _BLOCK, xp)
    return xp.reshape(boxes, (*quads.shape[:-2], 5))


@takes("boxes")
def rbox_to_hbox(boxes: Boxes) -> HBoxes:
    """Return the upright boxes around rotated boxes.

    >>> import math
    >>> from rbox_formats import rbox_to_hbox
    >>> rbox_to_hbox([[50, 40, 30, 10, -math.pi / 2]]).round(6).tolist()
    [[45.0, 25.0, 55.0, 55.0]]

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


@takes("quads")
def quad_to_hbox(quads: Quads) -> HBoxes:
    """Return the upright boxes around quads.

    >>> from rbox_formats import quad_to_hbox
    >>> quad_to_hbox([[[2, 0], [4, 2], [2, 4], [0, 2]]]).tolist()
    [[0.0, 0.0, 4.0, 4.0]]

    Args:
        quads: (..., 4, 2).

    Returns:
        (..., 4) as (x_min, y_min, x_max, y_max).
    """
    xp = array_namespace(quads)
    return xp.concat([xp.min(quads, axis=-2), xp.max(quads, axis=-2)], axis=-1)


@takes("hboxes")
def hbox_to_rbox(hboxes: HBoxes) -> Boxes:
    """Convert upright boxes to rotated ones.

    >>> from rbox_formats import hbox_to_rbox
    >>> hbox_to_rbox([[35, 35, 65, 45]]).tolist()
    [[50.0, 40.0, 30.0, 10.0, 0.0]]

    Args:
        hboxes: (..., 4) as (x_min, y_min, x_max, y_max).

    Returns:
        (..., 5) in `le90`: a box taller than wide has the angle -pi/2.
    """
    xp = array_namespace(hboxes)
    x0, y0, x1, y1 = _unstack(hboxes)
    return canonical_le90(xp.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, xp.zeros_like(x0)], axis=-1))


@takes("boxes")
def rbox_area(boxes: Boxes) -> Values:
    """Return the area (...,) of rotated boxes (..., 5).

    >>> from rbox_formats import rbox_area
    >>> rbox_area([[50, 40, 30, 10, 0.3]]).tolist()
    [300.0]
    """
    return boxes[..., 2] * boxes[..., 3]


@takes("quads")
def quad_area(quads: Quads) -> Values:
    """Return the area inside quads, by the shoelace formula.

    >>> from rbox_formats import quad_area
    >>> quad_area([[[0, 0], [4, 0], [4, 2], [0, 2]]]).tolist()
    [8.0]

    Args:
        quads: (..., 4, 2), clockwise or counter-clockwise. The two halves of a self-crossing quad have opposite signs.

    Returns:
        (...,), never negative.
    """
    xp = array_namespace(quads)
    # Half of the diagonals' cross product is the shoelace sum of four corners, without loss at large coordinates.
    p, q = quads[..., 2, :] - quads[..., 0, :], quads[..., 3, :] - quads[..., 1, :]
    return xp.abs(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]) / 2


@takes("quads")
def canonical_quad(
    quads: Quads, *, clockwise: bool = True, start: Literal["topmost", "leftmost", "first"] = "topmost"
) -> Quads:
    """Put the corners of quads into a defined order.

    The corners are sorted by their angle around their mean, as LMMRotate does (`normalize_polygon` in
    `playground/convert_dota_for_sft.py`, Li-Qingyun/mllm-mmrotate @f0e3706): a convex quad keeps its outline, a
    self-crossing one loses its crossing, and a concave one may get another outline with the same corners. Corners at
    the same angle keep their order.

    >>> from rbox_formats import canonical_quad
    >>> canonical_quad([[[4, 2], [0, 2], [0, 0], [4, 0]]]).tolist()
    [[[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]]

    Args:
        quads: (..., 4, 2), finite.
        clockwise: The winding on the screen (x right, y down); LMMRotate's texts are counter-clockwise.
        start: The corner that comes first: "topmost" (smallest y, then smallest x), "leftmost" (smallest x, then
            smallest y), or "first" (the first one as given).

    Returns:
        (..., 4, 2): the same corners.

    Raises:
        FormatsError: If `start` is not one of the three.
    """
    check_choice(start, ("first", *_STARTS), "the start of a quad as")
    xp = array_namespace(quads)
    corners = xp.reshape(quads, (-1, 4, 2))
    centred = corners - xp.mean(corners, axis=1, keepdims=True)
    around = xp.atan2(centred[..., 1], centred[..., 0])
    order = xp.argsort(around if clockwise else -around, axis=1, stable=True)
    if start == "first":
        is_start = order == 0
    else:
        ordered = _take_corners(corners, order, xp)
        major, minor = _STARTS[start]
        values, others = ordered[..., major], ordered[..., minor]
        is_least = values == xp.min(values, axis=1, keepdims=True)
        # Corners that are out of the choice are sorted after all others.
        others = xp.where(is_least, others, xp.max(others, axis=1, keepdims=True) + 1)
        is_start = is_least & (others == xp.min(others, axis=1, keepdims=True))
    first = xp.argmax(xp.astype(is_start, order.dtype), axis=1, keepdims=True)
    turned = (first + xp.arange(4, device=device(quads))) % 4
    order = xp.reshape(xp.take(xp.reshape(order, (-1,)), _flat(turned, xp)), order.shape)
    return xp.reshape(_take_corners(corners, order, xp), quads.shape)


def _take_corners(quads: Any, order: Any, xp: Any) -> Any:
    """Return the corners (n, 4, 2) in the order (n, 4)."""
    return xp.reshape(xp.take(xp.reshape(quads, (-1, 2)), _flat(order, xp), axis=0), quads.shape)


def _flat(order: Any, xp: Any) -> Any:
    """Convert places within rows of four (n, 4) to places in all rows together (4 n,)."""
    rows = xp.arange(order.shape[0], device=device(order))
    return xp.reshape(rows[:, None] * 4 + order, (-1,))

"""Flip, turn, scale and move boxes and quads together with their image.

Coordinates are those of pixel edges: an image of width W spans [0, W], the middle of its first pixel lies at 0.5, and a
flip maps x to W - x. (If your coordinates count pixel centres as whole numbers, a flip maps x to W - 1 - x: add half a
pixel before the flip and subtract it after.) If the pixels of an image are turned by `numpy.rot90(image, -turns)`, its
boxes are turned by `rotate90(boxes, size, turns)`.

Every function accepts boxes (..., 5) in `le90` or quads (..., 4, 2), as `rbox_formats.arrays` describes, and returns
the same kind; anything else, and a wrong choice or number, raises a `FormatsError`. The corners of a quad keep their
order, so that the first one stays the object's first; a flip makes a clockwise quad counter-clockwise (`canonical_quad`
restores a defined order).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal, TypeAlias

from array_api_compat import array_namespace

from rbox_formats._geometry._inputs import check_choice, number, pair, takes, whole_number
from rbox_formats._geometry._shapes import canonical_le90, quad_to_rbox, rbox_to_quad
from rbox_formats.errors import FormatsError
from rbox_formats.typing import BoxesOrQuads

_Matrix: TypeAlias = tuple[float, float, float, float]

# The factors of x and y.
_FLIPS = {
    "horizontal": (-1.0, 1.0),
    "vertical": (1.0, -1.0),
    "diagonal": (-1.0, -1.0),
}

# Cosine and sine of 0 to 3 quarter turns, without the rounding of pi.
_QUARTERS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


@takes("boxes", "quads")
def flip(
    shapes: BoxesOrQuads, image_size: tuple[float, float], direction: Literal["horizontal", "vertical", "diagonal"]
) -> BoxesOrQuads:
    """Mirror shapes together with their image.

    >>> from rbox_formats import flip
    >>> flip([[30, 40, 30, 10, 0.5]], image_size=(100, 80), direction="horizontal").tolist()
    [[70.0, 40.0, 30.0, 10.0, -0.5]]

    Args:
        shapes: Boxes (..., 5) or quads (..., 4, 2).
        image_size: (width, height) in pixels.
        direction: "horizontal" exchanges left and right, "vertical" top and bottom, "diagonal" both, which is half a
            turn.

    Returns:
        Of the shape and kind of what was given.
    """
    check_choice(direction, _FLIPS, "the direction of a flip as")
    width, height = pair(image_size, "image_size")
    x, y = _FLIPS[direction]
    target = (width if x < 0 else 0.0, height if y < 0 else 0.0)
    return _placed(shapes, (x, 0.0, 0.0, y), (0.0, 0.0), target, mirrored=x != y)


@takes("boxes", "quads")
def rotate90(
    shapes: BoxesOrQuads, image_size: tuple[float, float], turns: int = 1
) -> tuple[BoxesOrQuads, tuple[float, float]]:
    """Turn shapes together with their image, by quarter turns.

    >>> from rbox_formats import rotate90
    >>> boxes, size = rotate90([[30, 40, 30, 10, 0]], image_size=(100, 80))
    >>> boxes.round(4).tolist(), size
    ([[40.0, 30.0, 30.0, 10.0, -1.5708]], (80, 100))

    Args:
        shapes: Boxes (..., 5) or quads (..., 4, 2).
        image_size: (width, height) in pixels.
        turns: The number of quarter turns, clockwise on the screen; a negative number is counter-clockwise.

    Returns:
        The shapes, and the turned image's (width, height).
    """
    width, height = pair(image_size, "image_size")
    turns = whole_number(turns, "turns") % 4
    cos, sin = _QUARTERS[turns]
    target = ((0.0, 0.0), (height, 0.0), (width, height), (0.0, width))[turns]
    turned = _placed(shapes, (cos, -sin, sin, cos), (0.0, 0.0), target, turn=turns * math.pi / 2)
    return turned, (width, height) if turns % 2 == 0 else (height, width)


@takes("boxes", "quads")
def rotate(shapes: BoxesOrQuads, angle: float, centre: tuple[float, float]) -> BoxesOrQuads:
    """Turn shapes around a point.

    >>> from rbox_formats import rotate
    >>> rotate([[30, 40, 30, 10, 0]], angle=0.5, centre=(30, 40)).tolist()
    [[30.0, 40.0, 30.0, 10.0, 0.5]]

    Args:
        shapes: Boxes (..., 5) or quads (..., 4, 2).
        angle: In radians, positive = clockwise on the screen.
        centre: (x, y) of the point to turn around, in pixels.

    Returns:
        Of the shape and kind of what was given.
    """
    angle, centre = number(angle, "angle"), pair(centre, "centre")
    cos, sin = math.cos(angle), math.sin(angle)
    return _placed(shapes, (cos, -sin, sin, cos), centre, centre, turn=angle)


@takes("boxes", "quads")
def scale(shapes: BoxesOrQuads, factors: float | tuple[float, float]) -> BoxesOrQuads:
    """Resize shapes together with their image.

    >>> from rbox_formats import scale
    >>> scale([[30, 40, 30, 10, 0.5]], 2).tolist()
    [[60.0, 80.0, 60.0, 20.0, 0.5]]

    Args:
        shapes: Boxes (..., 5) or quads (..., 4, 2).
        factors: New size divided by old size: one factor, or (x factor, y factor).

    Returns:
        Of the shape and kind of what was given. Unequal factors make a parallelogram of a turned box; the result is the
        rectangle of least area around it, which is larger, so that scaling back does not undo it. Quads are exact.

    Raises:
        FormatsError: If a factor is not positive and finite.
    """
    x, y = (factors, factors) if isinstance(factors, Real) else pair(factors, "positive factors to scale by")
    if not (0 < x < math.inf and 0 < y < math.inf):
        raise FormatsError(f"expected positive factors to scale by, got {x} and {y}")
    if x != y and _are_boxes(shapes):
        return quad_to_rbox(scale(rbox_to_quad(shapes), (x, y)))
    return _placed(shapes, (x, 0.0, 0.0, y), (0.0, 0.0), (0.0, 0.0), size=x)


@takes("boxes", "quads")
def translate(shapes: BoxesOrQuads, offset: tuple[float, float]) -> BoxesOrQuads:
    """Move shapes by an offset.

    >>> from rbox_formats import translate
    >>> translate([[30, 40, 30, 10, 0.5]], (-20, 5)).tolist()
    [[10.0, 45.0, 30.0, 10.0, 0.5]]

    Args:
        shapes: Boxes (..., 5) or quads (..., 4, 2).
        offset: (x, y) in pixels.

    Returns:
        Of the shape and kind of what was given.

    Raises:
        FormatsError: If the shapes are neither, or the offset is not two numbers.
    """
    return _placed(shapes, (1.0, 0.0, 0.0, 1.0), (0.0, 0.0), pair(offset, "offset"))


def _are_boxes(shapes: Any) -> bool:
    return bool(shapes.shape[-1] == 5)


def _placed(
    shapes: Any,
    matrix: _Matrix,
    source: tuple[float, float],
    target: tuple[float, float],
    *,
    mirrored: bool = False,
    turn: float = 0.0,
    size: float = 1.0,
) -> Any:
    """Multiply the places of shapes by a matrix about `source`, which moves to `target`.

    Args:
        shapes: Boxes or quads.
        matrix: (xx, xy, yx, yy): for boxes, a similarity.
        source: (x, y) of a point.
        target: (x, y) to which the matrix moves the point `source`.
        mirrored: Whether the matrix mirrors; used for boxes.
        turn: The angle by which the matrix turns after mirroring; used for boxes.
        size: The factor by which the matrix scales lengths; used for boxes.
    """
    xp = array_namespace(shapes)
    xx, xy, yx, yy = matrix
    are_boxes = _are_boxes(shapes)
    x, y = shapes[..., 0] - source[0], shapes[..., 1] - source[1]
    moved = [xx * x + xy * y + target[0], yx * x + yy * y + target[1]]
    if not are_boxes:
        return xp.stack(moved, axis=-1)
    w, h, angle = shapes[..., 2] * size, shapes[..., 3] * size, shapes[..., 4]
    return canonical_le90(xp.stack([*moved, w, h, (-angle if mirrored else angle) + turn], axis=-1))

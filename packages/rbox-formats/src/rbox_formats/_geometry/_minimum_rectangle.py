"""The rectangle of least area around points: a fast kernel for four, and a plain one for any number.

One side of it lies on an edge of the convex hull (Freeman and Shapira, "Determining the minimum-area encasing rectangle
for an arbitrary closed curve", 1975), and every hull edge joins two of the points. So trying the directions between
every two points is enough, without finding the hull: six directions for four points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import device, is_numpy_namespace

from rbox_formats._geometry._conventions import LE90, in_convention, precision

# The corners 3 0 1 2 3 0 1: each side, the one before it and the one after it are then slices.
_AROUND = (3, 0, 1, 2, 3, 0, 1)

# Up to this number of quads, the overhead of numpy's calls takes longer than their work.
_FEW = 500


def in_blocks(function: Callable[[Any], Any], rows: Any, size: int, xp: Any) -> Any:
    """Apply a function to (n, ...), a block of rows at a time in numpy, so that its steps stay in the cache."""
    if not is_numpy_namespace(xp) or rows.shape[0] <= size:
        return function(rows)
    results: Any = None
    for start in range(0, rows.shape[0], size):
        block = function(rows[start : start + size])
        if results is None:
            results = xp.empty((rows.shape[0], *block.shape[1:]), dtype=block.dtype)
        results[start : start + size] = block
    return results


def around_quads(quads: Any, xp: Any) -> Any:
    """Return the rectangles around quads (n, 4, 2), as boxes (n, 5) in `le90`.

    Inside, the axis of the corners comes before that of the quads, so that every step runs along memory.
    """
    count, place = quads.shape[0], device(quads)
    zero = xp.zeros((count,), dtype=quads.dtype, device=place)  # numpy's `maximum` is four times slower with a number
    corners = xp.take(xp.permute_dims(quads, (2, 1, 0)), xp.asarray(_AROUND, device=place), axis=1)
    edges = corners[:, 1:, :] - corners[:, :-1, :]
    x, y = edges[0, ...], edges[1, ...]  # the sides 3-0, 0-1, 1-2, 2-3, 3-0, 0-1
    along, across = _dot_and_cross(x[:-1, :], y[:-1, :], x[1:, :], y[1:, :])
    side_x, side_y = x[1:5, :], y[1:5, :]
    side_scores = _scores(side_x, side_y, -along[:-1, :], along[1:, :], across[:-1, :], across[1:, :], zero, xp)

    edges = corners[:, 3:5, :] - corners[:, 1:3, :]
    diagonal_x, diagonal_y = edges[0, ...], edges[1, ...]  # the diagonals 0-2, 1-3
    by_end = (2, 2, count)  # the sides that begin at the diagonals' starts, and those that begin at their ends
    leaving_x, leaving_y = xp.reshape(side_x, by_end), xp.reshape(side_y, by_end)
    along, across = _dot_and_cross(diagonal_x, diagonal_y, leaving_x, leaving_y)
    diagonal_scores = _scores(
        diagonal_x, diagonal_y, along[0, ...], along[1, ...], across[0, ...], across[1, ...], zero, xp
    )

    best = _first_best(side_scores, diagonal_scores, xp) * count + xp.arange(count, device=place)
    best_x = xp.take(xp.reshape(xp.concat([side_x, diagonal_x]), (-1,)), best)
    best_y = xp.take(xp.reshape(xp.concat([side_y, diagonal_y]), (-1,)), best)
    return _along(best_x, best_y, corners[:, 1, :], corners[:, 2:5, :] - corners[:, 1:2, :], zero, xp)


def _dot_and_cross(x0: Any, y0: Any, x1: Any, y1: Any) -> tuple[Any, Any]:
    return x0 * x1 + y0 * y1, x0 * y1 - y0 * x1


def _scores(x: Any, y: Any, start: Any, end: Any, start_across: Any, end_across: Any, zero: Any, xp: Any) -> Any:
    """Return one over the area of the rectangles along directions between two corners of quads, all (k, n).

    Args:
        x: The x component of the direction from one corner to another.
        y: The y component of the direction from one corner to another.
        start: The distance of the third corner along the direction from its start, times the direction's length.
        end: The distance of the fourth corner along the direction from its end, times the direction's length.
        start_across: The distance of the third corner across the direction, times the direction's length.
        end_across: The distance of the fourth corner across the direction, times the direction's length.
        zero: (n,) zeros.
        xp: The arrays' namespace.

    Returns:
        Zero for a direction between equal corners. Where all corners lie on a line, the area is zero in every
        direction, and the floor gives the longest direction the highest score.
    """
    length2 = x * x + y * y
    end = end + length2
    w = xp.maximum(xp.maximum(start, end), length2) - xp.minimum(xp.minimum(start, end), zero)
    h = xp.maximum(xp.maximum(start_across, end_across), zero) - xp.minimum(xp.minimum(start_across, end_across), zero)
    return length2 / xp.maximum(w * h, zero + _floor(x, xp))


def _floor(values: Any, xp: Any) -> float:
    """Return a number far below any area times a squared length, which avoids a division by zero."""
    return precision(values.dtype, xp).smallest ** (2 / 3)


def _first_best(sides: Any, diagonals: Any, xp: Any) -> Any:
    """Return the row (n,) of the largest score, `sides` (4, n) before `diagonals` (2, n); the first of equals."""
    if not is_numpy_namespace(xp) or sides.shape[1] <= _FEW:
        return xp.argmax(xp.concat([sides, diagonals]), axis=0)
    # By comparisons of whole rows, since numpy's argmax over a short first axis is slow.
    best = xp.maximum(xp.maximum(sides[:2, :], sides[2:, :]), diagonals)
    best = xp.maximum(best[0, ...], best[1, ...])
    is_below = xp.astype(sides < best, xp.int8)
    row = xp.astype(diagonals[0, ...] < best, xp.int8) + 1
    for side in (3, 2, 1):
        row = is_below[side, ...] * row + 1  # past this row and those after it, if it is not the best
    return xp.astype(is_below[0, ...] * row, xp.int64)


def _along(x: Any, y: Any, origin: Any, others: Any, zero: Any, xp: Any) -> Any:
    """Return the rectangles along directions x, y (n,) around `origin` (2, n) and `others` (2, k, n) relative to it."""
    length2 = x * x + y * y
    is_point = xp.astype(length2 == 0, length2.dtype)  # points get the direction (1, 0)
    length = xp.sqrt(length2 + is_point)
    ux, uy = x / length + is_point, y / length
    along, across = _dot_and_cross(ux, uy, others[0, ...], others[1, ...])
    low, high = _ends(along, zero, xp)
    left, right = _ends(across, zero, xp)
    u, v = (low + high) / 2, (left + right) / 2
    w, h, angle = in_convention(high - low, right - left, xp.atan2(uy, ux), LE90, xp)
    return xp.stack([origin[0, ...] + (u * ux - v * uy), origin[1, ...] + (u * uy + v * ux), w, h, angle], axis=-1)


def _ends(places: Any, zero: Any, xp: Any) -> tuple[Any, Any]:
    """Return the smallest and the largest of places (k, n) and zero."""
    low, high = places[0, ...], places[0, ...]
    for i in range(1, places.shape[0]):
        low, high = xp.minimum(low, places[i, ...]), xp.maximum(high, places[i, ...])
    return xp.minimum(low, zero), xp.maximum(high, zero)


def around_points(points: Any, xp: Any) -> Any:
    """Return the rectangles around points (n, k, 2), as boxes (n, 5) in `le90`, by trying every direction."""
    count, k = points.shape[0], points.shape[1]
    zero = xp.zeros((count,), dtype=points.dtype, device=device(points))
    places = xp.permute_dims(points, (2, 1, 0))
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    starts, ends = (xp.asarray(ends, device=device(points)) for ends in zip(*pairs, strict=True))
    edges = xp.take(places, ends, axis=1) - xp.take(places, starts, axis=1)
    others = places[:, 1:, :] - places[:, :1, :]
    x, y = edges[0, ...], edges[1, ...]
    along, across = _dot_and_cross(x[None, ...], y[None, ...], others[0, :, None, :], others[1, :, None, :])
    (low, high), (left, right) = _ends(along, zero, xp), _ends(across, zero, xp)
    best = xp.argmax((x * x + y * y) / xp.maximum((high - low) * (right - left), zero + _floor(points, xp)), axis=0)
    best = best * count + xp.arange(count, device=device(points))
    best_x, best_y = xp.take(xp.reshape(x, (-1,)), best), xp.take(xp.reshape(y, (-1,)), best)
    return _along(best_x, best_y, places[:, 0, :], others, zero, xp)

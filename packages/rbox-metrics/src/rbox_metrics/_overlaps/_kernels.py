"""Overlaps of rotated boxes and their greedy suppression, compiled by Numba.

Compiled functions that call each other are in the same file: Numba's disk cache notices a change only in the file of
the function that is cached.

The overlap of two boxes is computed in the frame of the smaller one, in which this box is |x| <= W, |y| <= H: large
coordinates cancel before anything is multiplied. The common area with the other box, a polygon, is the integral over
|x| <= W of clamp(top(x), -H, H) - clamp(bottom(x), -H, H). So it is the sum, over the polygon's edges, of the integral
of clamp(y, -H, H) dx along the edge (Green's theorem). Each term is a closed formula that is continuous in every input:
shared edges, touching corners and identical boxes need no rules of their own.

The formulas select values and never branch, and pairs are computed in blocks whose numbers are in rows: the compiler
turns the loop over a block into vector instructions. The opposite edges of a box have the same slopes, the tangent and
cotangent of the angle between the boxes: this takes two divisions a pair, and one for the quotient.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, inlined, jit

# The columns of `shapes`.
_X, _Y, _HALF_W, _HALF_H, _COS, _SIN, _EXTENT_X, _EXTENT_Y = range(8)

# The float64 nearest to a right angle has a cosine of 6e-17. Taken as zero, so that upright boxes stay upright
# and their overlaps exact: an overlap of one half meets a threshold of 0.5.
_UPRIGHT = 1e-15
# Below this sine or cosine an edge is horizontal, or vertical, to the last bit of any coordinate.
_LEVEL = 1e-100
# Some units in the last place.
_ULPS = 1e-15

# Pairs in a block, and the rows of numbers that a block holds: small enough for the nearest cache.
_BLOCK = 128
_ROWS = 11

# How many boxes that are neighbours in x are tested one after the other; how many pairs are computed together.
_NEIGHBOURS, _PAIRS = 64, 256


@inlined
@no_type_check
def _turn(angle):
    """Return cosine and sine; values that are 0 except for the rounding of the angle are exactly 0."""
    cos, sin = np.cos(angle), np.sin(angle)
    return 0.0 if abs(cos) < _UPRIGHT else cos, 0.0 if abs(sin) < _UPRIGHT else sin


def shapes(boxes: np.ndarray) -> np.ndarray:
    """Return what the kernels need of each box.

    Args:
        boxes: (N, 5) float64.

    Returns:
        (N, 8): centre, half sides, cosine, sine, half the sides of the upright box around it.
    """
    result = np.empty((len(boxes), 8))
    in_parts(_shapes, len(boxes), len(boxes), boxes, result)
    return result


@jit
@no_type_check
def _shapes(begin, end, boxes, result):
    for i in range(begin, end):
        cos, sin = _turn(boxes[i, 4])
        half_w, half_h = boxes[i, 2] / 2, boxes[i, 3] / 2
        result[i, _X], result[i, _Y] = boxes[i, 0], boxes[i, 1]
        result[i, _HALF_W], result[i, _HALF_H] = half_w, half_h
        result[i, _COS], result[i, _SIN] = cos, sin
        result[i, _EXTENT_X] = half_w * abs(cos) + half_h * abs(sin)
        result[i, _EXTENT_Y] = half_w * abs(sin) + half_h * abs(cos)


def extents(a: np.ndarray) -> np.ndarray:
    """Return the upright boxes around shapes (N, 8), and their areas: (N, 5) as (x0, y0, x1, y1, area)."""
    result = np.empty((len(a), 5))
    in_parts(_extents, len(a), len(a), a, result)
    return result


@jit
@no_type_check
def _extents(begin, end, a, result):
    for i in range(begin, end):
        for axis in range(2):
            # Enlarged by the rounding of the sum.
            reach = a[i, _EXTENT_X + axis] + _ULPS * (abs(a[i, _X + axis]) + a[i, _EXTENT_X + axis])
            result[i, axis], result[i, axis + 2] = a[i, _X + axis] - reach, a[i, _X + axis] + reach
        result[i, 4] = 4 * a[i, _HALF_W] * a[i, _HALF_H]


@inlined
@no_type_check
def _clamp(value, limit):
    return min(max(value, -limit), limit)


@inlined
@no_type_check
def _edge_integral(near0, cut0, y0, near1, cut1, y1, slope, run, half_h):
    """Return twice the integral of clamp(y, -half_h, half_h) dx along an edge's part with |x| <= W.

    Args:
        near0: The x at which the part begins, minus the x of the edge's first end.
        cut0: The x at which the part begins.
        y0: The y of the edge's first end.
        near1: The x at which the part ends, minus the x of the edge's second end.
        cut1: The x at which the part ends.
        y1: The y of the edge's second end.
        slope: dy / dx along the edge.
        run: dx / dy along the edge.
        half_h: The limit at which y is clamped.
    """
    width = cut1 - cut0
    # Each from the nearest end, which is exact on steep edges too.
    ya, yb = y0 + slope * near0, y1 + slope * near1
    low, high = _clamp(ya, half_h), _clamp(yb, half_h)
    # How much longer the edge is clamped after its first end than before its second: at most its length.
    span = abs(width)
    lag = min(max(run * ((low - ya) - (yb - high)), -span), span)
    return width * (low + high) + (low - high) * lag if width != 0 else 0.0


@inlined
@no_type_check
def _common_area(dx, dy, half_w, half_h, cos_i, sin_i, half_w_j, half_h_j, cos_j, sin_j):
    """Return the area common to box i, which clips, and box j, whose centre is (dx, dy) from the centre of i."""
    # j in the frame of i: its centre, and half of each side as a vector.
    x, y = dx * cos_i + dy * sin_i, dy * cos_i - dx * sin_i
    cos, sin = cos_j * cos_i + sin_j * sin_i, sin_j * cos_i - cos_j * sin_i
    ux, uy = half_w_j * cos, half_w_j * sin
    vx, vy = -half_h_j * sin, half_h_j * cos
    # Boxes without common area are separated by a line along a side of one of them: then the result is exactly 0, and
    # not what rounding leaves of the sum. Boxes so far apart that a result is NaN do not meet either.
    meet = (
        (abs(x) < half_w + abs(ux) + abs(vx))
        & (abs(y) < half_h + abs(uy) + abs(vy))
        & (abs(dx * cos_j + dy * sin_j) < half_w_j + half_w * abs(cos) + half_h * abs(sin))
        & (abs(dy * cos_j - dx * sin_j) < half_h_j + half_w * abs(sin) + half_h * abs(cos))
    )
    tan = sin / cos if abs(cos) > _LEVEL else 0.0
    cot = cos / sin if abs(sin) > _LEVEL else 0.0
    x0, y0 = x - ux - vx, y - uy - vy
    x1, y1 = x + ux - vx, y + uy - vy
    x2, y2 = x + ux + vx, y + uy + vy
    x3, y3 = x - ux + vx, y - uy + vy
    c0, c1, c2, c3 = _clamp(x0, half_w), _clamp(x1, half_w), _clamp(x2, half_w), _clamp(x3, half_w)
    n0, n1, n2, n3 = c0 - x0, c1 - x1, c2 - x2, c3 - x3
    # In this order, x grows along the edges with the lowest y: the integrals add up to minus the area.
    total = (
        _edge_integral(n0, c0, y0, n1, c1, y1, tan, cot, half_h)
        + _edge_integral(n1, c1, y1, n2, c2, y2, -cot, -tan, half_h)
        + _edge_integral(n2, c2, y2, n3, c3, y3, tan, cot, half_h)
        + _edge_integral(n3, c3, y3, n0, c0, y0, -cot, -tan, half_h)
    )
    return -total / 2 if meet else 0.0


@inlined
@no_type_check
def _overlap(dx, dy, half_w1, half_h1, cos1, sin1, half_w2, half_h2, cos2, sin2, iof):
    """Return the intersection over the union, or over the first area; 0 where an area is zero.

    Args:
        dx: The x of the second box's centre minus that of the first.
        dy: The y of the second box's centre minus that of the first.
        half_w1: Half the width of the first box.
        half_h1: Half the height of the first box.
        cos1: The cosine of the first box's angle.
        sin1: The sine of the first box's angle.
        half_w2: Half the width of the second box.
        half_h2: Half the height of the second box.
        cos2: The cosine of the second box's angle.
        sin2: The sine of the second box's angle.
        iof: Whether to divide by the first area instead of the area of the union.
    """
    area1, area2 = 4 * half_w1 * half_h1, 4 * half_w2 * half_h2
    # The smaller box clips. For equal areas other differences decide, and never the order in which boxes are given.
    swap = (area2 < area1) | (
        (area2 == area1)
        & (
            (half_w2 < half_w1)
            | (
                (half_w2 == half_w1)
                & (
                    (cos2 < cos1)
                    | ((cos2 == cos1) & ((sin2 < sin1) | ((sin2 == sin1) & ((dx < 0) | ((dx == 0) & (dy < 0))))))
                )
            )
        )
    )
    same = (dx == 0) & (dy == 0) & (half_w1 == half_w2) & (half_h1 == half_h2) & (cos1 == cos2) & (sin1 == sin2)
    common = _common_area(
        -dx if swap else dx,
        -dy if swap else dy,
        half_w2 if swap else half_w1,
        half_h2 if swap else half_h1,
        cos2 if swap else cos1,
        sin2 if swap else sin1,
        half_w1 if swap else half_w2,
        half_h1 if swap else half_h2,
        cos1 if swap else cos2,
        sin1 if swap else sin2,
    )
    common = max(0.0, min(common, min(area1, area2)))
    common = area1 if same else common
    whole = area1 if iof else area1 + area2 - common
    return min(1.0, common / whole) if (area1 > 0) & (area2 > 0) else 0.0


@inlined
@no_type_check
def _work_off(block, count, iof):
    """Fill the last row of a block from the others: centre distances; half sides, cosine and sine of both boxes."""
    for k in range(count):
        block[10 * _BLOCK + k] = _overlap(
            block[k],
            block[_BLOCK + k],
            block[2 * _BLOCK + k],
            block[3 * _BLOCK + k],
            block[4 * _BLOCK + k],
            block[5 * _BLOCK + k],
            block[6 * _BLOCK + k],
            block[7 * _BLOCK + k],
            block[8 * _BLOCK + k],
            block[9 * _BLOCK + k],
            iof,
        )


def overlaps_aligned(boxes1: np.ndarray, boxes2: np.ndarray, iof: bool) -> np.ndarray:
    """Return the overlap of boxes1[k] and boxes2[k] for each k: (N, 5), (N, 5) -> (N,)."""
    result = np.empty(len(boxes1))
    in_parts(_overlaps_aligned, len(boxes1), len(boxes1), boxes1, boxes2, iof, result)
    return result


@jit
@no_type_check
def _overlaps_aligned(begin, end, boxes1, boxes2, iof, result):
    block = np.empty(_ROWS * _BLOCK)
    for start in range(begin, end, _BLOCK):
        count = min(_BLOCK, end - start)
        for k in range(count):
            i = start + k
            block[k], block[_BLOCK + k] = boxes2[i, 0] - boxes1[i, 0], boxes2[i, 1] - boxes1[i, 1]
            block[2 * _BLOCK + k], block[3 * _BLOCK + k] = boxes1[i, 2] / 2, boxes1[i, 3] / 2
            block[4 * _BLOCK + k], block[5 * _BLOCK + k] = _turn(boxes1[i, 4])
            block[6 * _BLOCK + k], block[7 * _BLOCK + k] = boxes2[i, 2] / 2, boxes2[i, 3] / 2
            block[8 * _BLOCK + k], block[9 * _BLOCK + k] = _turn(boxes2[i, 4])
        _work_off(block, count, iof)
        for k in range(count):
            result[start + k] = block[10 * _BLOCK + k]


def overlaps_of_pairs(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray, iof: bool) -> np.ndarray:
    """Return the overlap of the shapes a[first[k]] and b[second[k]] for each k: (K,)."""
    result = np.empty(len(first))
    in_parts(_overlaps_of_pairs, len(first), len(first), a, b, first, second, iof, result)
    return result


@jit
@no_type_check
def _overlaps_of_pairs(begin, end, a, b, first, second, iof, result):
    block = np.empty(_ROWS * _BLOCK)
    for start in range(begin, end, _BLOCK):
        count = min(_BLOCK, end - start)
        for k in range(count):
            i, j = first[start + k], second[start + k]
            block[k], block[_BLOCK + k] = b[j, _X] - a[i, _X], b[j, _Y] - a[i, _Y]
            block[2 * _BLOCK + k], block[3 * _BLOCK + k] = a[i, _HALF_W], a[i, _HALF_H]
            block[4 * _BLOCK + k], block[5 * _BLOCK + k] = a[i, _COS], a[i, _SIN]
            block[6 * _BLOCK + k], block[7 * _BLOCK + k] = b[j, _HALF_W], b[j, _HALF_H]
            block[8 * _BLOCK + k], block[9 * _BLOCK + k] = b[j, _COS], b[j, _SIN]
        _work_off(block, count, iof)
        for k in range(count):
            result[start + k] = block[10 * _BLOCK + k]


def overlaps_dense(a: np.ndarray, b: np.ndarray, iof: bool) -> np.ndarray:
    """Return every overlap of two sets of shapes: (N, 8), (M, 8) -> (N, M)."""
    result = np.zeros((len(a), len(b)))
    if result.size == 0:
        return result
    # Blocks of neighbours in x: most blocks are wholly to the left or to the right of a box.
    order = np.argsort(b[:, _X])
    b = b[order]
    around = b.T.take((_X, _Y, _EXTENT_X, _EXTENT_Y), axis=0)
    firsts = np.arange(0, len(b), _NEIGHBOURS)
    left = np.minimum.reduceat(around[0] - around[2], firsts)
    right = np.maximum.reduceat(around[0] + around[2], firsts)
    in_parts(_overlaps_dense, len(a), result.size, a, b, around, order, left, right, iof, result)
    return result


@jit
@no_type_check
def _overlaps_dense(begin, end, a, b, around, order, left, right, iof, result):
    rows, columns, found = np.empty(_PAIRS, dtype=np.int64), np.empty(_PAIRS, dtype=np.int64), np.empty(_PAIRS)
    filled = np.int64(0)
    for i in range(begin, end):
        xi, yi, extent_xi, extent_yi = a[i, _X], a[i, _Y], a[i, _EXTENT_X], a[i, _EXTENT_Y]
        for number in range(len(left)):
            # With room for rounding, as in the test of each box.
            slack = _ULPS * (abs(xi) + extent_xi + abs(left[number]) + abs(right[number]))
            if left[number] - slack <= xi + extent_xi and right[number] + slack >= xi - extent_xi:
                for k in range(number * _NEIGHBOURS, min((number + 1) * _NEIGHBOURS, len(b))):
                    rows[filled], columns[filled] = i, k
                    meet = (abs(around[0, k] - xi) < around[2, k] + extent_xi) & (
                        abs(around[1, k] - yi) < around[3, k] + extent_yi
                    )
                    filled += 1 if meet else 0
            # Compute when there may be no room for the next neighbours, or when there are none left.
            if filled > _PAIRS - _NEIGHBOURS or (i == end - 1 and number == len(left) - 1):
                _overlaps_of_pairs(np.int64(0), filled, a, b, rows, columns, iof, found)
                for k in range(filled):
                    result[rows[k], order[columns[k]]] = found[k]
                filled = np.int64(0)

"""Overlaps of rotated boxes, the search for boxes near each other, and greedy suppression, compiled by Numba.

Everything that calls another compiled function stands in this one file: Numba's disk cache notices a change only in the
file of the function that it holds.

The overlap of two boxes is found in the frame of one of them, where it reads |x| <= W, |y| <= H, centred on it: far-off
coordinates cancel before anything is multiplied. The area common to it and the other, a polygon, is the integral over
|x| <= W of clamp(top(x), -H, H) - clamp(bottom(x), -H, H), and so the sum over the polygon's edges of the integral of
clamp(y, -H, H) dx along each (Green's theorem). Each term is a closed formula that is continuous in every input: shared
edges, touching corners and identical boxes need no rule of their own.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import prange

from rbox_metrics._jit import jit, parallel_jit

# The columns of `shapes`.
_X, _Y, _HALF_W, _HALF_H, _COS, _SIN, _EXTENT_X, _EXTENT_Y = range(8)

# The float64 nearest to a right angle has a cosine of 6e-17. Taken as zero, so that upright boxes are upright and their
# overlaps exact: a threshold of 0.5 is met by an overlap of one half.
_UPRIGHT = 1e-15


@parallel_jit
@no_type_check
def shapes(boxes):
    """What the kernels need of each box.

    Args:
        boxes: (N, 5) float64.

    Returns:
        (N, 8): centre, half sides, cosine, sine, half the sides of the upright box around it.
    """
    result = np.empty((len(boxes), 8))
    for i in prange(len(boxes)):
        cos, sin = np.cos(boxes[i, 4]), np.sin(boxes[i, 4])
        cos = 0.0 if abs(cos) < _UPRIGHT else cos
        sin = 0.0 if abs(sin) < _UPRIGHT else sin
        half_w, half_h = boxes[i, 2] / 2, boxes[i, 3] / 2
        result[i, _X], result[i, _Y] = boxes[i, 0], boxes[i, 1]
        result[i, _HALF_W], result[i, _HALF_H] = half_w, half_h
        result[i, _COS], result[i, _SIN] = cos, sin
        result[i, _EXTENT_X] = half_w * abs(cos) + half_h * abs(sin)
        result[i, _EXTENT_Y] = half_w * abs(sin) + half_h * abs(cos)
    return result


@jit
@no_type_check
def _clamp(value, limit):
    return min(max(value, -limit), limit)


@jit
@no_type_check
def _edge_integral(x0, y0, x1, y1, half_w, half_h):
    """The integral of clamp(y, -half_h, half_h) dx over an edge's part with |x| <= half_w."""
    xa, xb = _clamp(x0, half_w), _clamp(x1, half_w)
    if xa == xb:
        return 0.0
    dx, dy = x1 - x0, y1 - y0
    # Each end from the corner next to it, which keeps its digits on steep edges.
    ya = y0 + dy * ((xa - x0) / dx)
    yb = y1 + dy * ((xb - x1) / dx)
    low, high = _clamp(ya, half_h), _clamp(yb, half_h)
    if low == high:
        return (xb - xa) * low
    # From `low` it stays level up to the share ta of the way, is straight up to tb, and level at `high` from there:
    # its mean lies (ta + tb) / 2 of the way from `high` to `low`.
    middle = ((low - ya) + (high - ya)) / (2 * (yb - ya))
    return (xb - xa) * (high + (low - high) * middle)


@jit
@no_type_check
def _goes_first(a, i, b, j):
    """Whether a[i] clips: the smaller box does, or whatever tells the two apart decides, never which comes first."""
    area_i, area_j = a[i, _HALF_W] * a[i, _HALF_H], b[j, _HALF_W] * b[j, _HALF_H]
    if area_i != area_j:
        return area_i < area_j
    for column in (_HALF_W, _HALF_H, _COS, _SIN, _X, _Y):
        if a[i, column] != b[j, column]:
            return a[i, column] < b[j, column]
    return True


@jit
@no_type_check
def _intersection(a, i, b, j):
    """The area common to a[i], which clips, and b[j]."""
    dx, dy = b[j, _X] - a[i, _X], b[j, _Y] - a[i, _Y]
    cos_i, sin_i, cos_j, sin_j = a[i, _COS], a[i, _SIN], b[j, _COS], b[j, _SIN]
    half_w, half_h, half_w_j, half_h_j = a[i, _HALF_W], a[i, _HALF_H], b[j, _HALF_W], b[j, _HALF_H]
    # b[j] in the frame of a[i]: its centre, and half of each side as a vector.
    x, y = dx * cos_i + dy * sin_i, dy * cos_i - dx * sin_i
    cos, sin = cos_j * cos_i + sin_j * sin_i, sin_j * cos_i - cos_j * sin_i
    ux, uy = half_w_j * cos, half_w_j * sin
    vx, vy = -half_h_j * sin, half_h_j * cos
    # A line along a side of one of them parts boxes that have nothing in common: exactly 0, not the sum's rounding.
    if (
        abs(x) >= half_w + abs(ux) + abs(vx)
        or abs(y) >= half_h + abs(uy) + abs(vy)
        or abs(dx * cos_j + dy * sin_j) >= half_w_j + half_w * abs(cos) + half_h * abs(sin)
        or abs(dy * cos_j - dx * sin_j) >= half_h_j + half_w * abs(sin) + half_h * abs(cos)
    ):
        return 0.0
    x0, y0 = x - ux - vx, y - uy - vy
    x1, y1 = x + ux - vx, y + uy - vy
    x2, y2 = x + ux + vx, y + uy + vy
    x3, y3 = x - ux + vx, y - uy + vy
    # In this order the corners run along the bottom, y lowest, with x growing: the integrals sum to minus the area.
    return -(
        _edge_integral(x0, y0, x1, y1, half_w, half_h)
        + _edge_integral(x1, y1, x2, y2, half_w, half_h)
        + _edge_integral(x2, y2, x3, y3, half_w, half_h)
        + _edge_integral(x3, y3, x0, y0, half_w, half_h)
    )


@jit
@no_type_check
def _overlap(a, i, b, j, iof):
    """Intersection over union, or over the area of a[i]; 0 where an area is zero."""
    if (
        abs(a[i, _X] - b[j, _X]) >= a[i, _EXTENT_X] + b[j, _EXTENT_X]
        or abs(a[i, _Y] - b[j, _Y]) >= a[i, _EXTENT_Y] + b[j, _EXTENT_Y]
    ):
        return 0.0
    area_i, area_j = 4 * a[i, _HALF_W] * a[i, _HALF_H], 4 * b[j, _HALF_W] * b[j, _HALF_H]
    if area_i == 0 or area_j == 0:
        return 0.0
    common = _intersection(a, i, b, j) if _goes_first(a, i, b, j) else _intersection(b, j, a, i)
    common = max(0.0, min(common, area_i, area_j))
    whole = area_i if iof else area_i + area_j - common
    return min(1.0, common / whole)


@parallel_jit
@no_type_check
def overlaps_dense(a, b, iof):
    """Every overlap of two sets of shapes: (N, 8), (M, 8) -> (N, M)."""
    result = np.empty((len(a), len(b)))
    for i in prange(len(a)):
        for j in range(len(b)):
            result[i, j] = _overlap(a, i, b, j, iof)
    return result


@parallel_jit
@no_type_check
def overlaps_of_pairs(a, b, first, second, iof):
    """The overlap of a[first[k]] and b[second[k]] for each k: (K,)."""
    result = np.empty(len(first))
    for k in prange(len(first)):
        result[k] = _overlap(a, first[k], b, second[k], iof)
    return result


@jit
@no_type_check
def running_max(values, starts):
    """The greatest value up to each, begun anew at each start: (N,), (G + 1,) -> (N,)."""
    result = values.copy()
    for g in range(len(starts) - 1):
        for k in range(starts[g] + 1, starts[g + 1]):
            result[k] = max(result[k], result[k - 1])
    return result


@jit
@no_type_check
def _first_reaching(reach, start, stop, left):
    """The first k in [start, stop) with reach[k] > left, reach never falling there; stop where there is none."""
    while start < stop:
        middle = (start + stop) // 2
        if reach[middle] > left:
            stop = middle
        else:
            start = middle + 1
    return start


@jit
@no_type_check
def _apart_in_y(a, i, b, j):
    return abs(a[i, _Y] - b[j, _Y]) >= a[i, _EXTENT_Y] + b[j, _EXTENT_Y]


@parallel_jit
@no_type_check
def near_pairs(a, starts_a, stops_a, b, order, left, reach):
    """The pairs of a box of `a` and one of its group in `b` whose upright extents overlap.

    Args:
        a: (N, 8) shapes.
        starts_a: (N,) where in `order` each box's group begins.
        stops_a: (N,) and where it ends.
        b: (M, 8) shapes.
        order: (M,) indices into `b`, sorted by group, then by the left end of the extent.
        left: (M,) those left ends, in that order.
        reach: (M,) the greatest right end so far within the group, in that order.

    Returns:
        (K,) indices into `a`, never falling, and (K,) into `b`.
    """
    n = len(a)
    offsets = np.zeros(n + 1, dtype=np.int64)
    for i in prange(n):
        left_i, right_i = a[i, _X] - a[i, _EXTENT_X], a[i, _X] + a[i, _EXTENT_X]
        k = _first_reaching(reach, starts_a[i], stops_a[i], left_i)
        count = 0
        while k < stops_a[i] and left[k] < right_i:
            j = order[k]
            if b[j, _X] + b[j, _EXTENT_X] > left_i and not _apart_in_y(a, i, b, j):
                count += 1
            k += 1
        offsets[i + 1] = count
    for i in range(n):
        offsets[i + 1] += offsets[i]
    first = np.empty(offsets[n], dtype=np.int64)
    second = np.empty(offsets[n], dtype=np.int64)
    for i in prange(n):
        left_i, right_i = a[i, _X] - a[i, _EXTENT_X], a[i, _X] + a[i, _EXTENT_X]
        k = _first_reaching(reach, starts_a[i], stops_a[i], left_i)
        position = offsets[i]
        while k < stops_a[i] and left[k] < right_i:
            j = order[k]
            if b[j, _X] + b[j, _EXTENT_X] > left_i and not _apart_in_y(a, i, b, j):
                first[position] = i
                second[position] = j
                position += 1
            k += 1
    return first, second


@parallel_jit
@no_type_check
def suppress(a, ranked, starts, order, left, reach, window, threshold):
    """Greedy suppression within groups: which boxes a better kept one overlaps by more than the threshold.

    Args:
        a: (N, 8) shapes.
        ranked: (N,) indices sorted by group, then from best to worst.
        starts: (G + 1,) where each group begins, in `ranked` and in `order` alike.
        order: (N,) indices sorted by group, then by the left end of the extent.
        left: (N,) those left ends, in that order.
        reach: (N,) the greatest right end so far within the group, in that order.
        window: (N,) a box suppresses no box of its own window; every box has one of its own in plain suppression.
        threshold: From 0 to 1; an overlap equal to it does not suppress.

    Returns:
        (N,) bool.
    """
    suppressed = np.zeros(len(a), dtype=np.bool_)
    for g in prange(len(starts) - 1):
        for place in range(starts[g], starts[g + 1]):
            i = ranked[place]
            if suppressed[i]:
                continue
            left_i, right_i = a[i, _X] - a[i, _EXTENT_X], a[i, _X] + a[i, _EXTENT_X]
            k = _first_reaching(reach, starts[g], starts[g + 1], left_i)
            while k < starts[g + 1] and left[k] < right_i:
                j = order[k]
                k += 1
                # A better box that stayed is no rival: it would have suppressed this one.
                if suppressed[j] or window[j] == window[i]:
                    continue
                if _overlap(a, i, a, j, False) > threshold:
                    suppressed[j] = True
    return suppressed

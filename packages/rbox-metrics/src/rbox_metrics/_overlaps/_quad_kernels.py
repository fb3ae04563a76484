"""Overlaps of quads, convex or not, compiled by Numba.

A point lies in a polygon where, of the edges above or below it, those that run to the right outnumber those that run to
the left. So the area common to two is the sum, over each edge e of the one and f of the other, of the integral of
min(y_e(x), y_f(x)) dx over the x that they share, negative where one of them runs to the left and the other to the
right. Each term is a closed formula that is continuous in every corner: shared edges and touching corners need no rule
of their own. The corners are taken relative to the middle of what the two upright boxes around the quads share.

As in `_kernels`, pairs are worked off in blocks, without branches.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import prange

from rbox_metrics._jit import inlined, parallel_jit

# The columns of `shapes`: four x, four y, the slopes of the four edges, the area; least and greatest x and y.
_X, _Y, _SLOPE, _AREA, _BOX = 0, 4, 8, 12, 13
_COLUMNS = 17

_BLOCK = 64
_ROWS = 28

# Terms that sum to less than this share of their sizes sum to nothing: what is left is their rounding.
_ROUNDING = 2e-15


@inlined
@no_type_check
def _side(ax, ay, bx, by, cx, cy):
    """Above 0 where c lies to the one side of the line from a to b, below 0 on the other."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@inlined
@no_type_check
def _crossing(ax, ay, bx, by, cx, cy, dx, dy):
    """Whether the edges from a to b and from c to d cross, ends excluded."""
    apart = _side(ax, ay, bx, by, cx, cy) * _side(ax, ay, bx, by, dx, dy)
    astride = _side(cx, cy, dx, dy, ax, ay) * _side(cx, cy, dx, dy, bx, by)
    return (apart < 0) & (astride < 0)


@inlined
@no_type_check
def _slope(ax, ay, bx, by):
    return (by - ay) / (bx - ax) if ax != bx else 0.0


@parallel_jit
@no_type_check
def shapes(quads):
    """What the kernels need of each quad, whichever corner it begins with and whichever way it runs.

    Args:
        quads: (N, 4, 2) float64. Of one whose edges cross, the two corners change places that make it a quad whose
            edges do not.

    Returns:
        (N, 17): the corners' x and y, from the leftmost, of equals the topmost, and turning from x to y; the slopes of
        the edges from each, 0 for an upright one; the area; the least x and y, the greatest x and y.
    """
    result = np.empty((len(quads), _COLUMNS))
    for i in prange(len(quads)):
        ax, ay, bx, by = quads[i, 0, 0], quads[i, 0, 1], quads[i, 1, 0], quads[i, 1, 1]
        cx, cy, dx, dy = quads[i, 2, 0], quads[i, 2, 1], quads[i, 3, 0], quads[i, 3, 1]
        if _crossing(ax, ay, bx, by, cx, cy, dx, dy):
            bx, by, cx, cy = cx, cy, bx, by
        elif _crossing(bx, by, cx, cy, dx, dy, ax, ay):
            cx, cy, dx, dy = dx, dy, cx, cy
        twice = (cx - ax) * (dy - by) - (cy - ay) * (dx - bx)
        if twice < 0:
            bx, by, dx, dy = dx, dy, bx, by
        # One corner on, or two, until the leftmost comes first.
        if (cx < ax) | ((cx == ax) & (cy < ay)):
            ax, ay, bx, by, cx, cy, dx, dy = cx, cy, dx, dy, ax, ay, bx, by
        if (dx < bx) | ((dx == bx) & (dy < by)):
            if (dx < ax) | ((dx == ax) & (dy < ay)):
                ax, ay, bx, by, cx, cy, dx, dy = dx, dy, ax, ay, bx, by, cx, cy
        elif (bx < ax) | ((bx == ax) & (by < ay)):
            ax, ay, bx, by, cx, cy, dx, dy = bx, by, cx, cy, dx, dy, ax, ay
        result[i, _X], result[i, _X + 1], result[i, _X + 2], result[i, _X + 3] = ax, bx, cx, dx
        result[i, _Y], result[i, _Y + 1], result[i, _Y + 2], result[i, _Y + 3] = ay, by, cy, dy
        result[i, _SLOPE], result[i, _SLOPE + 1] = _slope(ax, ay, bx, by), _slope(bx, by, cx, cy)
        result[i, _SLOPE + 2], result[i, _SLOPE + 3] = _slope(cx, cy, dx, dy), _slope(dx, dy, ax, ay)
        result[i, _AREA] = abs(twice) / 2
        result[i, _BOX], result[i, _BOX + 1] = min(ax, bx, cx, dx), min(ay, by, cy, dy)
        result[i, _BOX + 2], result[i, _BOX + 3] = max(ax, bx, cx, dx), max(ay, by, cy, dy)
    return result


@parallel_jit
@no_type_check
def extents(a):
    """The upright boxes around shapes (N, 17), and their areas: (N, 5) as (x0, y0, x1, y1, area)."""
    result = np.empty((len(a), 5))
    for i in prange(len(a)):
        result[i, 0], result[i, 1] = a[i, _BOX], a[i, _BOX + 1]
        result[i, 2], result[i, 3] = a[i, _BOX + 2], a[i, _BOX + 3]
        result[i, 4] = a[i, _AREA]
    return result


@inlined
@no_type_check
def _term(ax0, ay0, ax1, ay1, aslope, bx0, by0, bx1, by1, bslope):
    """The integral of min(y_a, y_b) dx over the x that two edges share, signed by their directions."""
    # From left to right.
    aback, bback = ax1 < ax0, bx1 < bx0
    al, alow, ar, ahigh = ax1 if aback else ax0, ay1 if aback else ay0, ax0 if aback else ax1, ay0 if aback else ay1
    bl, blow, br, bhigh = bx1 if bback else bx0, by1 if bback else by0, bx0 if bback else bx1, by0 if bback else by1
    left, right = max(al, bl), min(ar, br)
    # Each from the corner next to it, which keeps its digits on steep edges.
    a_left, a_right = alow + aslope * (left - al), ahigh - aslope * (ar - right)
    b_left, b_right = blow + bslope * (left - bl), bhigh - bslope * (br - right)
    at_left, at_right = a_left - b_left, a_right - b_right
    below, above = min(at_left, at_right), max(at_left, at_right)
    # The mean of min(a - b, 0): where the sign changes, that of the triangle below 0.
    crossing = (below < 0) & (above > 0)
    triangle = -below * below / (2 * (above - below) if crossing else 1.0)
    mean = (b_left + b_right) / 2 + (triangle if crossing else (min(at_left, 0.0) + min(at_right, 0.0)) / 2)
    area = (right - left) * mean
    return (-area if aback != bback else area) if right > left else 0.0


@inlined
@no_type_check
def _row(block, r):
    return block[r * _BLOCK : (r + 1) * _BLOCK]


@inlined
@no_type_check
def _against(ax0, ay0, ax1, ay1, aslope, x0, x1, x2, x3, y0, y1, y2, y3, s0, s1, s2, s3):
    """The terms of one edge with the four of the other quad: their sum, and that of their sizes."""
    t0 = _term(ax0, ay0, ax1, ay1, aslope, x0, y0, x1, y1, s0)
    t1 = _term(ax0, ay0, ax1, ay1, aslope, x1, y1, x2, y2, s1)
    t2 = _term(ax0, ay0, ax1, ay1, aslope, x2, y2, x3, y3, s2)
    t3 = _term(ax0, ay0, ax1, ay1, aslope, x3, y3, x0, y0, s3)
    return t0 + t1 + t2 + t3, abs(t0) + abs(t1) + abs(t2) + abs(t3)


@inlined
@no_type_check
def _work_off(block, count, iof):
    """The overlaps of the block's pairs, which `_load` filled in."""
    a0, a1, a2, a3, b0, b1, b2, b3 = (
        _row(block, 0), _row(block, 1), _row(block, 2), _row(block, 3),
        _row(block, 4), _row(block, 5), _row(block, 6), _row(block, 7),
    )  # fmt: skip
    k0, k1, k2, k3, area_a = _row(block, 8), _row(block, 9), _row(block, 10), _row(block, 11), _row(block, 12)
    c0, c1, c2, c3, d0, d1, d2, d3 = (
        _row(block, 13), _row(block, 14), _row(block, 15), _row(block, 16),
        _row(block, 17), _row(block, 18), _row(block, 19), _row(block, 20),
    )  # fmt: skip
    m0, m1, m2, m3, area_b = _row(block, 21), _row(block, 22), _row(block, 23), _row(block, 24), _row(block, 25)
    over, result = _row(block, 26), _row(block, 27)
    for k in range(count):
        other = (
            c0[k], c1[k], c2[k], c3[k], d0[k], d1[k], d2[k], d3[k], m0[k], m1[k], m2[k], m3[k]
        )  # fmt: skip
        sum0, size0 = _against(a0[k], b0[k], a1[k], b1[k], k0[k], *other)
        sum1, size1 = _against(a1[k], b1[k], a2[k], b2[k], k1[k], *other)
        sum2, size2 = _against(a2[k], b2[k], a3[k], b3[k], k2[k], *other)
        sum3, size3 = _against(a3[k], b3[k], a0[k], b0[k], k3[k], *other)
        common = sum0 + sum1 + sum2 + sum3
        common = common if common > _ROUNDING * (size0 + size1 + size2 + size3) else 0.0
        same = (
            (a0[k] == c0[k]) & (a1[k] == c1[k]) & (a2[k] == c2[k]) & (a3[k] == c3[k])
            & (b0[k] == d0[k]) & (b1[k] == d1[k]) & (b2[k] == d2[k]) & (b3[k] == d3[k])
        )  # fmt: skip
        common = area_a[k] if same else min(common, min(area_a[k], area_b[k]))
        whole = over[k] if iof else area_a[k] + area_b[k] - common
        result[k] = min(1.0, common / whole) if (area_a[k] > 0) & (area_b[k] > 0) else 0.0
    return result


@inlined
@no_type_check
def _goes_first(a, i, b, j):
    """Whether a[i] comes before b[j] by what the two are, never by which was given first."""
    if a[i, _AREA] != b[j, _AREA]:
        return a[i, _AREA] < b[j, _AREA]
    for column in range(_SLOPE):
        if a[i, column] != b[j, column]:
            return a[i, column] < b[j, column]
    return True


@inlined
@no_type_check
def _place(block, k, row, a, i, x, y):
    """Writes a[i] into the block from a row on, its corners relative to (x, y)."""
    for corner in range(4):
        block[(row + corner) * _BLOCK + k] = a[i, _X + corner] - x
        block[(row + 4 + corner) * _BLOCK + k] = a[i, _Y + corner] - y
        block[(row + 8 + corner) * _BLOCK + k] = a[i, _SLOPE + corner]
    block[(row + 12) * _BLOCK + k] = a[i, _AREA]


@inlined
@no_type_check
def _load(block, k, a, i, b, j):
    """Makes a[i] and b[j] the block's pair k."""
    x = (max(a[i, _BOX], b[j, _BOX]) + min(a[i, _BOX + 2], b[j, _BOX + 2])) / 2
    y = (max(a[i, _BOX + 1], b[j, _BOX + 1]) + min(a[i, _BOX + 3], b[j, _BOX + 3])) / 2
    if _goes_first(a, i, b, j):
        _place(block, k, 0, a, i, x, y)
        _place(block, k, 13, b, j, x, y)
    else:
        _place(block, k, 0, b, j, x, y)
        _place(block, k, 13, a, i, x, y)
    block[26 * _BLOCK + k] = a[i, _AREA]


@inlined
@no_type_check
def _apart(a, i, b, j):
    """Whether the upright boxes around a[i] and b[j] have nothing in common."""
    return (
        max(a[i, _BOX], b[j, _BOX]) >= min(a[i, _BOX + 2], b[j, _BOX + 2])
        or max(a[i, _BOX + 1], b[j, _BOX + 1]) >= min(a[i, _BOX + 3], b[j, _BOX + 3])
    )  # fmt: skip


@parallel_jit
@no_type_check
def overlaps_of_pairs(a, b, first, second, iof):
    """The overlap of the shapes a[first[k]] and b[second[k]] for each k: (K,)."""
    n = len(first)
    result = np.zeros(n)
    for number in prange((n + _BLOCK - 1) // _BLOCK):
        block = np.empty(_ROWS * _BLOCK)
        near = np.empty(_BLOCK, dtype=np.int64)
        count = 0
        for k in range(number * _BLOCK, min((number + 1) * _BLOCK, n)):
            if not _apart(a, first[k], b, second[k]):
                _load(block, count, a, first[k], b, second[k])
                near[count] = k
                count += 1
        found = _work_off(block, count, iof)
        for k in range(count):
            result[near[k]] = found[k]
    return result


@parallel_jit
@no_type_check
def overlaps_dense(a, b, iof, result):
    """Every overlap of two sets of shapes, (N, 17) and (M, 17), into `result` (N, M), which holds zeros."""
    m = len(b)
    # Blocks of neighbours in x, most of which lie wholly to the left or to the right of a quad.
    order = np.argsort(b[:, _BOX])
    x0, y0, x1, y1 = b[order, _BOX], b[order, _BOX + 1], b[order, _BOX + 2], b[order, _BOX + 3]
    blocks = (m + _BLOCK - 1) // _BLOCK
    right = np.empty(blocks)
    for number in range(blocks):
        right[number] = x1[number * _BLOCK : (number + 1) * _BLOCK].max()
    for i in prange(len(a)):
        block = np.empty(_ROWS * _BLOCK)
        near = np.empty(_BLOCK, dtype=np.int64)
        xi0, yi0, xi1, yi1 = a[i, _BOX], a[i, _BOX + 1], a[i, _BOX + 2], a[i, _BOX + 3]
        for number in range(blocks):
            if x0[number * _BLOCK] >= xi1 or right[number] <= xi0:
                continue
            count = 0
            for k in range(number * _BLOCK, min((number + 1) * _BLOCK, m)):
                near[count] = k
                count += 1 if (x0[k] < xi1) & (x1[k] > xi0) & (y0[k] < yi1) & (y1[k] > yi0) else 0
            if count == 0:
                continue
            for k in range(count):
                near[k] = order[near[k]]
                _load(block, k, a, i, b, near[k])
            found = _work_off(block, count, iof)
            for k in range(count):
                result[i, near[k]] = found[k]

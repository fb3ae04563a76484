"""Overlaps of quads, convex or not, compiled by Numba.

A point lies in a polygon if, among the edges above it, more run to the right than to the left. So the area common to
two polygons is a sum over each edge e of the first and each edge f of the second. A term is the integral of min(y_e(x),
y_f(x)) dx over the x that the two edges share, negative if one of them runs to the left and the other to the right.
Each term is a closed formula that is continuous in every corner: shared edges and touching corners need no rules of
their own. The corners are taken relative to the centre of the common part of the two upright boxes around the quads.

As in `_kernels`, pairs are computed in blocks, without branches.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, inlined, jit

# The columns of `shapes`: the area, four x, four y, the slopes of the four edges; least and greatest x and y.
_AREA, _X, _Y, _SLOPE, _BOX = 0, 1, 5, 9, 13
_COLUMNS = 17

# How many pairs are in a block, and its rows: the columns of the first quad without its upright box, those of the
# second; an edge of the first, as x, y, x, y and slope; the sum of the terms, and of their absolute values; 1 if the
# upright boxes are apart, else 0.
_BLOCK = 64
_OTHER, _EDGE, _SUM, _SIZE, _APART = 13, 26, 31, 32, 33
_ROWS = 34

# How many quads that are neighbours in x are tested one after the other; how many pairs are computed together.
_NEIGHBOURS, _PAIRS = 64, 256

# A sum of terms below this share of the sum of their absolute values is taken as 0: it is only rounding.
_ROUNDING = 2e-15


@inlined
@no_type_check
def _side(ax, ay, bx, by, cx, cy):
    """Return a number above 0 if c lies on one side of the line from a to b, below 0 if on the other."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@inlined
@no_type_check
def _crossing(ax, ay, bx, by, cx, cy, dx, dy):
    """Return whether the edges from a to b and from c to d cross, ends excluded."""
    apart = _side(ax, ay, bx, by, cx, cy) * _side(ax, ay, bx, by, dx, dy)
    astride = _side(cx, cy, dx, dy, ax, ay) * _side(cx, cy, dx, dy, bx, by)
    return (apart < 0) & (astride < 0)


@inlined
@no_type_check
def _slope(ax, ay, bx, by):
    return (by - ay) / (bx - ax) if ax != bx else 0.0


def shapes(quads: np.ndarray) -> np.ndarray:
    """Return what the kernels need of each quad; first corner and direction do not matter.

    Args:
        quads: (N, 4, 2) float64. If edges of a quad cross, two of its corners are exchanged so that no edges cross.

    Returns:
        (N, 17): the area; the corners' x and y, from the leftmost corner (the topmost of several), turning from x to y;
        the slopes of the edges from each corner, 0 for a vertical edge; the least x and y, the greatest x and y.
    """
    result = np.empty((len(quads), _COLUMNS))
    in_parts(_shapes, len(quads), len(quads), quads, result)
    return result


@jit
@no_type_check
def _shapes(begin, end, quads, result):
    for i in range(begin, end):
        ax, ay, bx, by = quads[i, 0, 0], quads[i, 0, 1], quads[i, 1, 0], quads[i, 1, 1]
        cx, cy, dx, dy = quads[i, 2, 0], quads[i, 2, 1], quads[i, 3, 0], quads[i, 3, 1]
        if _crossing(ax, ay, bx, by, cx, cy, dx, dy):
            bx, by, cx, cy = cx, cy, bx, by
        elif _crossing(bx, by, cx, cy, dx, dy, ax, ay):
            cx, cy, dx, dy = dx, dy, cx, cy
        twice = (cx - ax) * (dy - by) - (cy - ay) * (dx - bx)
        if twice < 0:
            bx, by, dx, dy = dx, dy, bx, by
        # Rotate by one corner, or by two, until the leftmost comes first.
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


def extents(a: np.ndarray) -> np.ndarray:
    """Return the upright boxes around shapes (N, 17), and their areas: (N, 5) as (x0, y0, x1, y1, area)."""
    return np.concatenate([a[:, _BOX:], a[:, _AREA, None]], axis=1)


@inlined
@no_type_check
def _term(ax0, ay0, ax1, ay1, aslope, bx0, by0, bx1, by1, bslope):
    """Return the integral of min(y_a, y_b) dx over the x that two edges share, signed by their directions."""
    # From left to right.
    aback, bback = ax1 < ax0, bx1 < bx0
    al, alow, ar, ahigh = ax1 if aback else ax0, ay1 if aback else ay0, ax0 if aback else ax1, ay0 if aback else ay1
    bl, blow, br, bhigh = bx1 if bback else bx0, by1 if bback else by0, bx0 if bback else bx1, by0 if bback else by1
    left, right = max(al, bl), min(ar, br)
    # Each from the nearest corner, which is exact on steep edges too.
    a_left, a_right = alow + aslope * (left - al), ahigh - aslope * (ar - right)
    b_left, b_right = blow + bslope * (left - bl), bhigh - bslope * (br - right)
    at_left, at_right = a_left - b_left, a_right - b_right
    below, above = min(at_left, at_right), max(at_left, at_right)
    # The mean of min(a - b, 0); if the sign changes, the mean of the triangle below 0.
    crossing = (below < 0) & (above > 0)
    triangle = -below * below / (2 * (above - below) if crossing else 1.0)
    mean = (b_left + b_right) / 2 + (triangle if crossing else (min(at_left, 0.0) + min(at_right, 0.0)) / 2)
    area = (right - left) * mean
    return (-area if aback != bback else area) if right > left else 0.0


@inlined
@no_type_check
def _against(ax0, ay0, ax1, ay1, aslope, x0, x1, x2, x3, y0, y1, y2, y3, slope0, slope1, slope2, slope3):
    """Return the sum of the terms of one edge with the four of the other quad, and the sum of their absolute values."""
    t0 = _term(ax0, ay0, ax1, ay1, aslope, x0, y0, x1, y1, slope0)
    t1 = _term(ax0, ay0, ax1, ay1, aslope, x1, y1, x2, y2, slope1)
    t2 = _term(ax0, ay0, ax1, ay1, aslope, x2, y2, x3, y3, slope2)
    t3 = _term(ax0, ay0, ax1, ay1, aslope, x3, y3, x0, y0, slope3)
    return t0 + t1 + t2 + t3, abs(t0) + abs(t1) + abs(t2) + abs(t3)


def overlaps_aligned(quads1: np.ndarray, quads2: np.ndarray, iof: bool) -> np.ndarray:
    """Return the overlap of quads1[k] and quads2[k] for each k: (N, 4, 2), (N, 4, 2) -> (N,)."""
    index = np.arange(len(quads1))
    return overlaps_of_pairs(shapes(quads1), shapes(quads2), index, index, iof)


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
            # Which quad comes first is decided by their numbers, never by the order in which they are given.
            swap = False
            for column in range(_SLOPE):
                if a[i, column] != b[j, column]:
                    swap = a[i, column] > b[j, column]
                    break
            row_a = k + _OTHER * _BLOCK if swap else k
            row_b = k if swap else k + _OTHER * _BLOCK
            x0, x1 = max(a[i, _BOX], b[j, _BOX]), min(a[i, _BOX + 2], b[j, _BOX + 2])
            y0, y1 = max(a[i, _BOX + 1], b[j, _BOX + 1]), min(a[i, _BOX + 3], b[j, _BOX + 3])
            block[_APART * _BLOCK + k] = 1.0 if x0 >= x1 or y0 >= y1 else 0.0
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            block[row_a], block[row_b] = a[i, _AREA], b[j, _AREA]
            for corner in range(4):
                column = _X + corner
                block[column * _BLOCK + row_a], block[column * _BLOCK + row_b] = a[i, column] - x, b[j, column] - x
                column = _Y + corner
                block[column * _BLOCK + row_a], block[column * _BLOCK + row_b] = a[i, column] - y, b[j, column] - y
                column = _SLOPE + corner
                block[column * _BLOCK + row_a], block[column * _BLOCK + row_b] = a[i, column], b[j, column]
            block[_SUM * _BLOCK + k] = block[_SIZE * _BLOCK + k] = 0.0
        # The edges of the first quad one after the other, copied to the same rows: a quarter of the code to compile.
        for edge in range(4):
            after = (edge + 1) % 4
            for k in range(count):
                block[_EDGE * _BLOCK + k] = block[(_X + edge) * _BLOCK + k]
                block[(_EDGE + 1) * _BLOCK + k] = block[(_Y + edge) * _BLOCK + k]
                block[(_EDGE + 2) * _BLOCK + k] = block[(_X + after) * _BLOCK + k]
                block[(_EDGE + 3) * _BLOCK + k] = block[(_Y + after) * _BLOCK + k]
                block[(_EDGE + 4) * _BLOCK + k] = block[(_SLOPE + edge) * _BLOCK + k]
            for k in range(count):
                part, size = _against(
                    block[_EDGE * _BLOCK + k],
                    block[(_EDGE + 1) * _BLOCK + k],
                    block[(_EDGE + 2) * _BLOCK + k],
                    block[(_EDGE + 3) * _BLOCK + k],
                    block[(_EDGE + 4) * _BLOCK + k],
                    block[(_OTHER + _X) * _BLOCK + k],
                    block[(_OTHER + _X + 1) * _BLOCK + k],
                    block[(_OTHER + _X + 2) * _BLOCK + k],
                    block[(_OTHER + _X + 3) * _BLOCK + k],
                    block[(_OTHER + _Y) * _BLOCK + k],
                    block[(_OTHER + _Y + 1) * _BLOCK + k],
                    block[(_OTHER + _Y + 2) * _BLOCK + k],
                    block[(_OTHER + _Y + 3) * _BLOCK + k],
                    block[(_OTHER + _SLOPE) * _BLOCK + k],
                    block[(_OTHER + _SLOPE + 1) * _BLOCK + k],
                    block[(_OTHER + _SLOPE + 2) * _BLOCK + k],
                    block[(_OTHER + _SLOPE + 3) * _BLOCK + k],
                )
                block[_SUM * _BLOCK + k] += part
                block[_SIZE * _BLOCK + k] += size
        for k in range(count):
            common = block[_SUM * _BLOCK + k]
            common = common if common > _ROUNDING * block[_SIZE * _BLOCK + k] else 0.0
            same = True
            for row in range(_X, _SLOPE):
                same &= block[row * _BLOCK + k] == block[(_OTHER + row) * _BLOCK + k]
            area, other = block[k], block[_OTHER * _BLOCK + k]
            common = area if same else min(common, min(area, other))
            whole = a[first[start + k], _AREA] if iof else area + other - common
            solid = (area > 0) & (other > 0) & (block[_APART * _BLOCK + k] == 0)
            result[start + k] = min(1.0, common / whole) if solid else 0.0


def overlaps_dense(a: np.ndarray, b: np.ndarray, iof: bool) -> np.ndarray:
    """Return every overlap of two sets of shapes: (N, 17), (M, 17) -> (N, M)."""
    result = np.zeros((len(a), len(b)))
    if result.size == 0:
        return result
    # Blocks of neighbours in x: most blocks are wholly to the left or to the right of a quad.
    order = np.argsort(b[:, _BOX])
    b = b[order]
    around = np.ascontiguousarray(b[:, _BOX:].T)
    right = np.maximum.reduceat(around[2], np.arange(0, len(b), _NEIGHBOURS))
    in_parts(_overlaps_dense, len(a), result.size, a, b, around, order, right, iof, result)
    return result


@jit
@no_type_check
def _overlaps_dense(begin, end, a, b, around, order, right, iof, result):
    rows, columns, found = np.empty(_PAIRS, dtype=np.int64), np.empty(_PAIRS, dtype=np.int64), np.empty(_PAIRS)
    filled = np.int64(0)
    for i in range(begin, end):
        xi0, yi0, xi1, yi1 = a[i, _BOX], a[i, _BOX + 1], a[i, _BOX + 2], a[i, _BOX + 3]
        for number in range(len(right)):
            if around[0, number * _NEIGHBOURS] < xi1 and right[number] > xi0:
                for k in range(number * _NEIGHBOURS, min((number + 1) * _NEIGHBOURS, len(b))):
                    rows[filled], columns[filled] = i, k
                    meet = (around[0, k] < xi1) & (around[2, k] > xi0) & (around[1, k] < yi1) & (around[3, k] > yi0)
                    filled += 1 if meet else 0
            # Compute when there may be no room for the next neighbours, or when there are none left.
            if filled > _PAIRS - _NEIGHBOURS or (i == end - 1 and number == len(right) - 1):
                _overlaps_of_pairs(np.int64(0), filled, a, b, rows, columns, iof, found)
                for k in range(filled):
                    result[rows[k], order[columns[k]]] = found[k]
                filled = np.int64(0)

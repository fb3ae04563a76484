"""The Triton kernels of `_triton`. What they compute is explained in `_kernels` and `_quad_kernels`."""

from __future__ import annotations

from typing import Any, no_type_check

import triton
import triton.language as tl

# Whether kernels run on the CPU: triton asks for TRITON_INTERPRET when it decorates them, below.
INTERPRETED: bool = bool(triton.knobs.runtime.interpret)

# Pairs per program. An interpreted program takes about 10 ms, however many pairs it has.
_BLOCK = 8192 if INTERPRETED else 256


def launch(boxes: bool, a: Any, b: Any, first: Any, second: Any, result: Any, m: int, pairs: int, iof: bool) -> None:
    """Fill `result` with the overlap of each pair, in one launch.

    Args:
        boxes: Whether the shapes are boxes; otherwise they are quads.
        a: (N, 8) float64 shapes of boxes, or (N, 9) of quads.
        b: (M, 8) or (M, 9) float64 shapes of the same kind.
        first: (K,) int64 indices into `a`, read only if the pairs are listed.
        second: (K,) int64 indices into `b`, read only if the pairs are listed.
        result: (K,) float32 or float64, filled with the overlaps.
        m: The number M.
        pairs: Which pairs: 0 aligned, 1 dense, 2 listed.
        iof: Whether to divide by the first area instead of the area of the union.
    """
    kernel = _box_kernel if boxes else _quad_kernel
    grid = (triton.cdiv(len(result), _BLOCK),)
    kernel[grid](a, b, first, second, result, len(result), m, PAIRS=pairs, IOF=iof, BLOCK=_BLOCK)


@triton.jit
@no_type_check
def _pair(first, second, count, m, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the numbers of this program's pairs, which of them exist, and the numbers of their boxes."""
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = k < count
    if PAIRS == 0:
        i, j = k, k
    elif PAIRS == 1:
        i = k // m
        j = k - i * m
    else:
        i = tl.load(first + k, mask=there, other=0)
        j = tl.load(second + k, mask=there, other=0)
    return k, there, i, j


@triton.jit
@no_type_check
def _clamp(value, limit):
    return tl.minimum(tl.maximum(value, -limit), limit)


@triton.jit
@no_type_check
def _edge_integral(near0, cut0, y0, near1, cut1, y1, slope, run, half_h):
    width = cut1 - cut0
    ya, yb = y0 + slope * near0, y1 + slope * near1
    low, high = _clamp(ya, half_h), _clamp(yb, half_h)
    lag = _clamp(run * ((low - ya) - (yb - high)), tl.abs(width))
    return tl.where(width != 0, width * (low + high) + (low - high) * lag, 0.0)


@triton.jit
@no_type_check
def _box_kernel(a, b, first, second, result, count, m, PAIRS: tl.constexpr, IOF: tl.constexpr, BLOCK: tl.constexpr):
    k, there, i, j = _pair(first, second, count, m, PAIRS, BLOCK)
    a += i * 8
    b += j * 8
    dx, dy = tl.load(b, mask=there) - tl.load(a, mask=there), tl.load(b + 1, mask=there) - tl.load(a + 1, mask=there)
    half_w1, half_h1 = tl.load(a + 2, mask=there), tl.load(a + 3, mask=there)
    cos1, sin1, area1 = tl.load(a + 4, mask=there), tl.load(a + 5, mask=there), tl.load(a + 6, mask=there)
    half_w2, half_h2 = tl.load(b + 2, mask=there), tl.load(b + 3, mask=there)
    cos2, sin2, area2 = tl.load(b + 4, mask=there), tl.load(b + 5, mask=there), tl.load(b + 6, mask=there)
    # The smaller box clips. For equal areas other differences decide, and never the order in which boxes are given.
    by_place = (dx < 0) | ((dx == 0) & (dy < 0))
    by_turn = (cos2 < cos1) | ((cos2 == cos1) & ((sin2 < sin1) | ((sin2 == sin1) & by_place)))
    swap = (area2 < area1) | ((area2 == area1) & ((half_w2 < half_w1) | ((half_w2 == half_w1) & by_turn)))
    same = (dx == 0) & (dy == 0) & (half_w1 == half_w2) & (half_h1 == half_h2) & (cos1 == cos2) & (sin1 == sin2)
    dx, dy = tl.where(swap, -dx, dx), tl.where(swap, -dy, dy)
    cos_i, sin_i = tl.where(swap, cos2, cos1), tl.where(swap, sin2, sin1)
    cos_j, sin_j = tl.where(swap, cos1, cos2), tl.where(swap, sin1, sin2)
    # Offset and angle between the two boxes; after this, float32 is enough.
    x, y = (dx * cos_i + dy * sin_i).to(tl.float32), (dy * cos_i - dx * sin_i).to(tl.float32)
    along, across = (dx * cos_j + dy * sin_j).to(tl.float32), (dy * cos_j - dx * sin_j).to(tl.float32)
    cos, sin = (cos_j * cos_i + sin_j * sin_i).to(tl.float32), (sin_j * cos_i - cos_j * sin_i).to(tl.float32)
    half_w, half_h = tl.where(swap, half_w2, half_w1).to(tl.float32), tl.where(swap, half_h2, half_h1).to(tl.float32)
    half_wj, half_hj = tl.where(swap, half_w1, half_w2).to(tl.float32), tl.where(swap, half_h1, half_h2).to(tl.float32)
    area1, area2 = area1.to(tl.float32), area2.to(tl.float32)
    ux, uy = half_wj * cos, half_wj * sin
    vx, vy = -half_hj * sin, half_hj * cos
    upright, level = tl.abs(cos), tl.abs(sin)
    meet = (
        (tl.abs(x) < half_w + tl.abs(ux) + tl.abs(vx))
        & (tl.abs(y) < half_h + tl.abs(uy) + tl.abs(vy))
        & (tl.abs(along) < half_wj + half_w * upright + half_h * level)
        & (tl.abs(across) < half_hj + half_w * level + half_h * upright)
    )
    # Below this a sine or cosine is too small to matter in float32.
    tan = tl.where(upright > 1e-30, sin / tl.where(upright > 1e-30, cos, 1.0), 0.0)
    cot = tl.where(level > 1e-30, cos / tl.where(level > 1e-30, sin, 1.0), 0.0)
    x0, y0 = x - ux - vx, y - uy - vy
    x1, y1 = x + ux - vx, y + uy - vy
    x2, y2 = x + ux + vx, y + uy + vy
    x3, y3 = x - ux + vx, y - uy + vy
    k0, k1, k2, k3 = _clamp(x0, half_w), _clamp(x1, half_w), _clamp(x2, half_w), _clamp(x3, half_w)
    total = (
        _edge_integral(k0 - x0, k0, y0, k1 - x1, k1, y1, tan, cot, half_h)
        + _edge_integral(k1 - x1, k1, y1, k2 - x2, k2, y2, -cot, -tan, half_h)
        + _edge_integral(k2 - x2, k2, y2, k3 - x3, k3, y3, tan, cot, half_h)
        + _edge_integral(k3 - x3, k3, y3, k0 - x0, k0, y0, -cot, -tan, half_h)
    )
    common = tl.where(meet, -0.5 * total, 0.0)
    common = tl.maximum(tl.minimum(common, tl.minimum(area1, area2)), 0.0)
    common = tl.where(same, area1, common)
    solid = (area1 > 0) & (area2 > 0)
    whole = area1 if IOF else area1 + area2 - common
    overlap = tl.minimum(common / tl.where(solid, whole, 1.0), 1.0)
    tl.store(result + k, tl.where(solid, overlap, 0.0), mask=there)


@triton.jit
@no_type_check
def _term(ax0, ay0, ax1, ay1, bx0, by0, bx1, by1):
    """Return the integral of min(y_a, y_b) dx over the x that two edges share, signed by their directions."""
    aback, bback = ax1 < ax0, bx1 < bx0
    al, alow = tl.where(aback, ax1, ax0), tl.where(aback, ay1, ay0)
    ar, ahigh = tl.where(aback, ax0, ax1), tl.where(aback, ay0, ay1)
    bl, blow = tl.where(bback, bx1, bx0), tl.where(bback, by1, by0)
    br, bhigh = tl.where(bback, bx0, bx1), tl.where(bback, by0, by1)
    aslope = (ahigh - alow) / tl.where(ar > al, ar - al, 1.0)
    bslope = (bhigh - blow) / tl.where(br > bl, br - bl, 1.0)
    left, right = tl.maximum(al, bl), tl.minimum(ar, br)
    a_left, a_right = alow + aslope * (left - al), ahigh - aslope * (ar - right)
    b_left, b_right = blow + bslope * (left - bl), bhigh - bslope * (br - right)
    at_left, at_right = a_left - b_left, a_right - b_right
    below, above = tl.minimum(at_left, at_right), tl.maximum(at_left, at_right)
    crossing = (below < 0) & (above > 0)
    triangle = -below * below / tl.where(crossing, 2 * (above - below), 1.0)
    level = (tl.minimum(at_left, 0.0) + tl.minimum(at_right, 0.0)) / 2
    area = (right - left) * ((b_left + b_right) / 2 + tl.where(crossing, triangle, level))
    return tl.where(right > left, tl.where(aback != bback, -area, area), 0.0)


@triton.jit
@no_type_check
def _middle(a, b, there, column: tl.constexpr):
    """Return the middle of what the extents of two quads share along x, from column 0, or y, from column 4."""
    a0, a1 = tl.load(a + column, mask=there), tl.load(a + column + 1, mask=there)
    a2, a3 = tl.load(a + column + 2, mask=there), tl.load(a + column + 3, mask=there)
    b0, b1 = tl.load(b + column, mask=there), tl.load(b + column + 1, mask=there)
    b2, b3 = tl.load(b + column + 2, mask=there), tl.load(b + column + 3, mask=there)
    a_low, a_high = (
        tl.minimum(tl.minimum(a0, a1), tl.minimum(a2, a3)),
        tl.maximum(tl.maximum(a0, a1), tl.maximum(a2, a3)),
    )
    b_low, b_high = (
        tl.minimum(tl.minimum(b0, b1), tl.minimum(b2, b3)),
        tl.maximum(tl.maximum(b0, b1), tl.maximum(b2, b3)),
    )
    low, high = tl.maximum(a_low, b_low), tl.minimum(a_high, b_high)
    return (low + high) / 2, low < high


@triton.jit
@no_type_check
def _quad_kernel(a, b, first, second, result, count, m, PAIRS: tl.constexpr, IOF: tl.constexpr, BLOCK: tl.constexpr):
    k, there, i, j = _pair(first, second, count, m, PAIRS, BLOCK)
    a += i * 9
    b += j * 9
    area1, area2 = tl.load(a + 8, mask=there), tl.load(b + 8, mask=there)
    # Which quad comes first is decided by their numbers, never by the order in which they are given.
    swap = area2 < area1
    tied = area2 == area1
    for column in tl.static_range(8):
        value1, value2 = tl.load(a + column, mask=there), tl.load(b + column, mask=there)
        swap = swap | (tied & (value2 < value1))
        tied = tied & (value2 == value1)
    same = tied
    x, meet_x = _middle(a, b, there, 0)
    y, meet_y = _middle(a, b, there, 4)
    small, large = tl.where(swap, b, a), tl.where(swap, a, b)
    common = tl.zeros_like(area1)
    size = tl.zeros_like(area1)
    for e in tl.static_range(4):
        ax0, ay0 = tl.load(small + e, mask=there) - x, tl.load(small + 4 + e, mask=there) - y
        ax1, ay1 = tl.load(small + (e + 1) % 4, mask=there) - x, tl.load(small + 4 + (e + 1) % 4, mask=there) - y
        for f in tl.static_range(4):
            bx0, by0 = tl.load(large + f, mask=there) - x, tl.load(large + 4 + f, mask=there) - y
            bx1, by1 = tl.load(large + (f + 1) % 4, mask=there) - x, tl.load(large + 4 + (f + 1) % 4, mask=there) - y
            term = _term(ax0, ay0, ax1, ay1, bx0, by0, bx1, by1)
            common += term
            size += tl.abs(term)
    # A sum that is smaller than the rounding of its terms is taken as 0.
    common = tl.where(meet_x & meet_y & (common > 2e-15 * size), common, 0.0)
    common = tl.where(same, area1, tl.minimum(common, tl.minimum(area1, area2)))
    solid = (area1 > 0) & (area2 > 0)
    whole = area1 if IOF else area1 + area2 - common
    overlap = tl.minimum(common / tl.where(solid, whole, 1.0), 1.0)
    tl.store(result + k, tl.where(solid, overlap, 0.0), mask=there)

"""The part of a quad inside an upright window: its area, its share, and the rectangle around it.

The area of a quad is that of its signed outline (`quad_area`), also for concave quads; the two halves of a
self-crossing quad have opposite signs, with and without a window. Sutherland and Hodgman's clipping and the shoelace
formula give the same; here it is an integral without a loop over boxes.

Quads and windows are given as `rbox_formats.arrays` describes; anything else raises a `FormatsError`.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from rbox_formats._geometry._conventions import precision
from rbox_formats._geometry._inputs import as_windows, takes
from rbox_formats._geometry._minimum_rectangle import around_points, in_blocks
from rbox_formats._geometry._shapes import quad_area, quad_to_rbox
from rbox_formats.typing import AnyBoxes, AnyQuads, AnyValues, Windows

# How many cut quads are handled at a time; each has 66 directions times 12 points.
_BLOCK = 512


@takes("quads")
def area_inside(quads: AnyQuads, windows: Windows) -> AnyValues:
    """Return the area of quads inside upright windows.

    With P the quad's outline, the area inside [x0, x1] x [y0, y1] is the integral along P of min(max(y, y0), y1) - y0
    over the part of dx that lies within [x0, x1]: Green's theorem for the outline pressed into the window. Each side
    adds at most three pieces: above the window, below it (nothing), and a trapezium.

    >>> from rbox_formats import area_inside
    >>> area_inside([[[0, 0], [4, 0], [4, 2], [0, 2]]], (1, 0, 10, 10)).tolist()
    [6.0]

    Args:
        quads: (..., 4, 2).
        windows: (..., 4) as (x_min, y_min, x_max, y_max), an array or four numbers; leading shapes broadcast, so that
            quads (N, 1, 4, 2) and windows (M, 4) give (N, M).

    Returns:
        (...,), never negative. For a quad that lies inside, it equals `quad_area` to the last bit.
    """
    xp = array_namespace(quads)
    windows = as_windows(windows, quads, xp)
    # Relative to the first corner, so that small shapes at large coordinates keep their precision.
    origin = quads[..., 0, :]
    low, high = windows[..., :2] - origin, windows[..., 2:] - origin
    x0, y0, x1, y1 = (value[..., None] for value in (low[..., 0], low[..., 1], high[..., 0], high[..., 1]))
    local = quads - origin[..., None, :]
    x, y = local[..., 0], local[..., 1]
    dx, dy = xp.roll(x, -1, axis=-1) - x, xp.roll(y, -1, axis=-1) - y

    # Each side's part within [x0, x1], and the height at which it begins and ends.
    start, end = _between(x, x0, x1, xp), _between(x + dx, x0, x1, xp)
    run = xp.where(xp.abs(dx) <= _speck(quads, xp), xp.ones_like(dx), dx)
    y_start, y_end = y + (start - x) / run * dy, y + (end - x) / run * dy
    lower, upper = xp.minimum(y_start, y_end), xp.maximum(y_start, y_end)

    # The mean height above the window's lower bound along that part, pressed into the window.
    zero, one = xp.zeros_like(upper), xp.ones_like(upper)
    rise = upper - lower
    rise = xp.where(rise > _speck(quads, xp), rise, one)
    above, below = _between((upper - y1) / rise, zero, one, xp), _between((y0 - lower) / rise, zero, one, xp)
    within = (_between(lower, y0, y1, xp) + _between(upper, y0, y1, xp)) / 2 - y0
    mean = above * (y1 - y0) + (1 - above - below) * within
    areas = xp.abs(xp.sum((end - start) * mean, axis=-1))
    return xp.where(_is_inside(quads, windows, xp), quad_area(quads) + xp.zeros_like(areas), areas)


@takes("quads")
def intersection_over_foreground(quads: AnyQuads, windows: Windows) -> AnyValues:
    """Return the share of quads' area that lies inside upright windows.

    >>> from rbox_formats import intersection_over_foreground
    >>> intersection_over_foreground([[[0, 0], [4, 0], [4, 2], [0, 2]]], (1, 0, 10, 10)).tolist()
    [0.75]

    Args:
        quads: (..., 4, 2).
        windows: (..., 4) as (x_min, y_min, x_max, y_max), or four numbers; leading shapes broadcast.

    Returns:
        (...,) in [0, 1]. For a quad without area (a line, a point, a self-crossing quad with equal halves) it is 1 if
        the mean of its corners lies inside, the right and lower border excluded, and else 0, so that exactly one of
        several windows that tile the plane holds the quad. For a self-crossing quad, a window may hold more area than
        the halves' difference: the share is then 1.
    """
    xp = array_namespace(quads)
    windows = as_windows(windows, quads, xp)
    inside = area_inside(quads, windows)
    whole = quad_area(quads) + xp.zeros_like(inside)
    has_area = whole > 0
    centre = xp.mean(quads, axis=-2)
    by_centre = xp.all((centre >= windows[..., :2]) & (centre < windows[..., 2:]), axis=-1)
    share = xp.minimum(inside / xp.where(has_area, whole, xp.ones_like(whole)), xp.ones_like(whole))
    return xp.where(has_area, share, xp.astype(by_centre, whole.dtype))


@takes("quads")
def clip_to_rbox(quads: AnyQuads, windows: Windows) -> AnyBoxes:
    """Return the rotated rectangles of least area around the parts of quads inside upright windows.

    >>> from rbox_formats import clip_to_rbox
    >>> clip_to_rbox([[[0, 0], [4, 0], [4, 2], [0, 2]]], (1, 0, 10, 10)).tolist()
    [[2.5, 1.0, 3.0, 2.0, 0.0]]

    Args:
        quads: (..., 4, 2).
        windows: (..., 4) as (x_min, y_min, x_max, y_max), or four numbers; leading shapes broadcast.

    Returns:
        (..., 5) in `le90`. A box may reach beyond the window where a slanted object is cut. For a quad that lies inside
        it equals `quad_to_rbox`. For a self-crossing quad, it holds both halves. For a quad that lies outside, it is a
        box of size zero at the nearest point of the window; `intersection_over_foreground` is 0 for such a quad.
    """
    xp = array_namespace(quads)
    windows = as_windows(windows, quads, xp)
    shape = tuple((quads[..., 0, 0] + windows[..., 0]).shape)
    quads, windows = xp.broadcast_to(quads, (*shape, 4, 2)), xp.broadcast_to(windows, (*shape, 4))
    both = xp.concat([xp.reshape(quads, (-1, 8)), xp.reshape(windows, (-1, 4))], axis=-1)
    clipped = in_blocks(lambda rows: around_points(_points_inside(rows, xp), xp), both, _BLOCK, xp)
    is_inside = _is_inside(quads, windows, xp)
    return xp.where(is_inside[..., None], quad_to_rbox(quads), xp.reshape(clipped, (*shape, 5)))


def _speck(values: Any, xp: Any) -> float:
    """Return a length that counts as zero, and by which an image's size can still be divided."""
    return precision(values.dtype, xp).smallest ** 0.5


def _between(values: Any, low: Any, high: Any, xp: Any) -> Any:
    return xp.minimum(xp.maximum(values, low), high)


def _is_inside(quads: Any, windows: Any, xp: Any) -> Any:
    low, high = windows[..., None, :2], windows[..., None, 2:]
    return xp.all(xp.all((quads >= low) & (quads <= high), axis=-1), axis=-1)


def _points_inside(rows: Any, xp: Any) -> Any:
    """Return twelve points (n, 12, 2) that span the part of quads inside windows, from rows (n, 12).

    Each row is a quad (8 numbers) and a window (4). The points are the ends of the part of each side that is inside (8)
    and the window's corners inside the quad (4): all corners of the clipped polygon are among them. A point that does
    not exist is replaced by one that does.
    """
    count = rows.shape[0]
    starts = xp.reshape(rows[:, :8], (count, 4, 2))
    ends = xp.roll(starts, -1, axis=1)
    low, high = rows[:, None, 8:10], rows[:, None, 10:]

    # Liang and Barsky: where each side enters the window's two strips, and where it leaves them.
    way = ends - starts
    is_still = xp.abs(way) <= _speck(rows, xp)
    run = xp.where(is_still, xp.ones_like(way), way)
    first, second = (low - starts) / run, (high - starts) / run
    entry, leave = xp.minimum(first, second), xp.maximum(first, second)
    outside = (starts < low) | (starts > high)
    entry = xp.where(is_still, xp.where(outside, xp.ones_like(run) + 1, xp.zeros_like(run)), entry)
    leave = xp.where(is_still, xp.ones_like(run), leave)
    t0 = xp.maximum(xp.max(entry, axis=-1, keepdims=True), xp.zeros_like(entry[..., :1]))
    t1 = xp.minimum(xp.min(leave, axis=-1, keepdims=True), xp.ones_like(leave[..., :1]))
    crosses = (t0 <= t1)[..., 0]
    at_end = xp.where(t1 == 1, ends, starts + t1 * way)

    x0, y0, x1, y1 = (rows[:, i] for i in range(8, 12))
    corners = xp.stack([xp.stack([x0, x1, x1, x0], axis=-1), xp.stack([y0, y0, y1, y1], axis=-1)], axis=-1)
    points = xp.concat([_between(starts + t0 * way, low, high, xp), _between(at_end, low, high, xp), corners], axis=1)
    is_there = xp.concat([crosses, crosses, _holds(starts, ends, corners, xp)], axis=1)

    nearest = _between(xp.mean(starts, axis=1), low[:, 0, :], high[:, 0, :], xp)
    chosen = xp.argmax(xp.astype(is_there, xp.int64), axis=1)[:, None] == xp.arange(12, device=device(rows))
    one = xp.sum(xp.where(chosen[..., None], points, xp.zeros_like(points)), axis=1)
    one = xp.where(xp.any(is_there, axis=1)[:, None], one, nearest)
    return xp.where(is_there[..., None], points, one[:, None, :])


def _holds(starts: Any, ends: Any, points: Any, xp: Any) -> Any:
    """Return whether outlines of sides (n, 4, 2) enclose points (n, k, 2): their winding number there is not zero."""
    starts, ends, points = starts[:, None, :, :], ends[:, None, :, :], points[:, :, None, :]
    y = points[..., 1]
    way, to = ends - starts, points - starts
    side = way[..., 0] * to[..., 1] - way[..., 1] * to[..., 0]
    down = (starts[..., 1] <= y) & (ends[..., 1] > y) & (side > 0)
    up = (starts[..., 1] > y) & (ends[..., 1] <= y) & (side < 0)
    return xp.sum(xp.astype(down, xp.int64) - xp.astype(up, xp.int64), axis=-1) != 0

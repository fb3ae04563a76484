"""Outlines (K, 2) float64 of masks: the pixels inside, the part inside a window, and simpler ones."""

from __future__ import annotations

import numpy as np

from rbox_formats.masks import _runs

# COCO's rule takes points along the outline at a fifth of a pixel.
_FINE = 5.0
_MOST_HALVINGS = 20


def area_of(outline: np.ndarray) -> float:
    """Return the signed area of an outline: positive if it is clockwise on the screen."""
    x, y = (outline - outline[:1]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def filled(outline: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the pixels inside an outline as places on an image, by the rule of COCO's `rleFrPoly`.

    Source: `rleFrPoly` in common/maskApi.c, cocodataset/cocoapi at 8c9bcc3. Where the outline crosses itself, pixels
    that it encloses twice are outside.

    Args:
        outline: (K, 2).
        width: The image's, px.
        height: The image's, px.

    Returns:
        (N, 2) half-open intervals of places, column by column, rising; two may touch.
    """
    fine = np.trunc(_FINE * outline + 0.5).astype(np.int64)
    start, end = fine, np.roll(fine, -1, axis=0)
    across = np.abs(end - start)
    flat = across[:, 0] >= across[:, 1]  # along x, else along y
    rows, main = np.arange(len(fine)), np.where(flat, 0, 1)
    flipped = start[rows, main] > end[rows, main]
    low = np.where(flipped[:, None], end, start)
    high = np.where(flipped[:, None], start, end)
    length = across[rows, main]
    slope = (high[rows, 1 - main] - low[rows, 1 - main]) / np.maximum(length, 1)
    # Every edge's points, from its own first end to its last one.
    which = np.repeat(rows, length + 1)
    step = np.arange(len(which)) - np.repeat(np.cumsum(length + 1) - (length + 1), length + 1)
    step = np.where(flipped[which], length[which] - step, step)
    along = low[which, main[which]] + step
    beside = np.trunc(low[which, 1 - main[which]] + slope[which] * step + 0.5).astype(np.int64)
    u, v = np.where(flat[which], along, beside), np.where(flat[which], beside, along)
    # Where the outline passes from one column of fine points to the next, at the middle of a pixel.
    turns = np.flatnonzero(u[1:] != u[:-1]) + 1
    x = (np.where(u[turns] < u[turns - 1], u[turns], u[turns] - 1) + 0.5) / _FINE - 0.5
    y = np.ceil(np.clip((np.minimum(v[turns], v[turns - 1]) + 0.5) / _FINE - 0.5, 0, height))
    is_middle = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    passed = np.sort(x[is_middle].astype(np.int64) * height + y[is_middle].astype(np.int64))
    if len(passed) % 2:
        passed = np.append(passed, width * height)
    return passed.reshape(-1, 2)


def clipped(outline: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray | None:
    """Return the part of an outline inside a window; None where nothing of an area is left.

    Sutherland and Hodgman's clipping: parts that are apart are joined along the window's border.
    """
    if (outline >= (x0, y0)).all() and (outline <= (x1, y1)).all():
        return outline
    for axis, bound, sign in ((0, x0, 1), (0, x1, -1), (1, y0, 1), (1, y1, -1)):
        if not len(outline):
            return None
        outline = _cut(outline, axis, bound, sign)
    return outline if len(outline) >= 3 and area_of(outline) else None


def _cut(outline: np.ndarray, axis: int, bound: float, sign: int) -> np.ndarray:
    """Return the part of an outline on one side of a line: where sign * (coordinate - bound) is zero or more."""
    inside = sign * (outline[:, axis] - bound) >= 0
    if inside.all():
        return outline
    after, after_inside = np.roll(outline, -1, axis=0), np.roll(inside, -1)
    crosses = inside != after_inside
    way = np.where(crosses, after[:, axis] - outline[:, axis], 1.0)
    crossing = outline + ((bound - outline[:, axis]) / way)[:, None] * (after - outline)
    crossing[:, axis] = bound
    both = np.stack([outline, crossing], axis=1).reshape(-1, 2)
    kept = np.stack([inside, crosses], axis=1).ravel()
    return both[kept]


def simplified(outline: np.ndarray, tolerance: float) -> np.ndarray:
    """Return an outline with fewer corners, nowhere further than `tolerance` px from the corners left out.

    Douglas and Peucker's way, between the two corners that are farthest apart from the first one on. A simpler outline
    that would cross itself is made again with half the tolerance.
    """
    for _ in range(_MOST_HALVINGS if tolerance > 0 else 0):
        simple = _thinned(outline, tolerance)
        if len(simple) >= 3 and area_of(simple) and not _crosses(simple):
            return simple
        tolerance /= 2
    return outline


def _thinned(outline: np.ndarray, tolerance: float) -> np.ndarray:
    count = len(outline)
    far = int(np.linalg.norm(outline - outline[0], axis=1).argmax())
    ring = np.concatenate([outline, outline[:1]])
    kept = np.zeros(count + 1, dtype=bool)
    kept[[0, far, count]] = True
    waiting = [(0, far), (far, count)]
    while waiting:
        first, last = waiting.pop()
        if last - first < 2:
            continue
        distance = _distances(ring[first + 1 : last], ring[first], ring[last])
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            kept[middle] = True
            waiting += [(first, middle), (middle, last)]
    return ring[:-1][kept[:-1]]


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return how far points (K, 2) are from the line between two others."""
    way = end - start
    length2 = float(way @ way)
    along = np.clip((points - start) @ way / length2, 0, 1) if length2 else np.zeros(len(points))
    return np.linalg.norm(points - start - along[:, None] * way, axis=1)


def _crosses(outline: np.ndarray) -> bool:
    """Return whether two sides of an outline cross or touch, other than neighbours at their corner."""
    start, end = outline, np.roll(outline, -1, axis=0)

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.sign((q - p)[..., 0] * (r - p)[..., 1] - (q - p)[..., 1] * (r - p)[..., 0])

    count = len(outline)
    for i in range(count - 2):
        j = np.arange(i + 2, count if i else count - 1)
        a, b, c, d = start[i], end[i], start[j], end[j]
        if ((side(a, b, c) * side(a, b, d) <= 0) & (side(c, d, a) * side(c, d, b) <= 0) & _near(a, b, c, d)).any():
            return True
    return False


def _near(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return whether the upright boxes around two lines meet: lines on one line may be apart."""
    return ((np.minimum(a, b) <= np.maximum(c, d)) & (np.minimum(c, d) <= np.maximum(a, b))).all(axis=-1)


def to_runs(outlines: tuple[np.ndarray, ...], width: int, height: int) -> np.ndarray:
    """Return the pixels inside any of some outlines as runs, on an image of that size."""
    none = _runs.NONE[:, :2]
    # What is far outside would take memory for each pixel along it.
    far = (-width - 1.0, -height - 1.0, 2.0 * width + 1, 2.0 * height + 1)
    near = [part for outline in outlines if (part := clipped(outline, *far)) is not None]
    places = np.concatenate([none, *(filled(outline, width, height) for outline in near)])
    return _runs.from_places(_runs.combined(places, none, np.logical_or), height)

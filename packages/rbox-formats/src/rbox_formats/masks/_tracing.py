"""The outlines of runs, along the sides of their pixels."""

from __future__ import annotations

import numpy as np

from rbox_formats.masks import _runs
from rbox_formats.masks._polygons import area_of


def rings(runs: np.ndarray) -> list[list[np.ndarray]]:
    """Return the parts of runs (R, 3), each as its outer ring and the rings of its holes.

    Rings are (K, 2) float64 corners of pixels, without the last one that repeats the first: outer ones clockwise on the
    screen, holes the other way. A ring meets itself nowhere; two may meet at a corner. Pixels that meet only at a
    corner belong to different parts.
    """
    found = _loops(*_sides(runs))
    outer = [ring for ring in found if area_of(ring) > 0]
    parts = [[ring] for ring in outer]
    low, high = (np.array([end(ring, axis=0) for ring in outer]).reshape(-1, 2) for end in (np.min, np.max))
    for hole in (ring for ring in found if area_of(ring) < 0):
        inside = _beside(hole)
        around = np.flatnonzero(((low <= inside) & (inside <= high)).all(axis=1))
        holders = [i for i in around if _holds(outer[i], inside)]
        parts[min(holders, key=lambda i: area_of(outer[i]))].append(hole)
    return parts


def _sides(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and ends (S, 2) of the sides of pixels around runs, with the pixels on the right of each."""
    if not len(runs):
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    x, y0, y1 = runs.T
    top = np.stack([x, y0, x + 1, y0], axis=1)
    bottom = np.stack([x + 1, y1, x, y1], axis=1)
    low = runs.min(axis=0)
    height = int(y1.max() - low[1]) + 1
    places = _runs.to_places(runs - low[[0, 1, 1]], height)
    beside = places + height
    left, right = (
        _runs.from_places(_runs.combined(one, other, lambda a, b: a & ~b), height) + low[[0, 1, 1]]
        for one, other in ((places, beside), (beside, places))
    )
    sides = np.concatenate([top, bottom, left[:, [0, 2, 0, 1]], right[:, [0, 1, 0, 2]]])
    return sides[:, :2], sides[:, 2:]


def _loops(starts: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    """Return the rings that sides make, each split where it meets itself, without corners on a straight line."""
    leaving: dict[tuple[int, int], list[int]] = {}
    from_, to = [*map(tuple, starts.tolist())], [*map(tuple, ends.tolist())]
    for i, corner in enumerate(from_):
        leaving.setdefault(corner, []).append(i)
    used = [False] * len(from_)
    found = []
    for first in range(len(from_)):
        path: list[tuple[int, int]] = []
        at: dict[tuple[int, int], int] = {}
        side = first
        while not used[side]:
            used[side] = True
            corner = from_[side]
            if (place := at.get(corner)) is not None:  # the ring meets itself
                found.append(path[place:])
                for gone in path[place:]:
                    del at[gone]
                del path[place:]
            at[corner] = len(path)
            path.append(corner)
            side = _next(side, from_, to, leaving)
        if path:
            found.append(path)
    return [_without_straight(np.array(path, dtype=np.float64)) for path in found]


def _next(
    side: int, starts: list[tuple[int, int]], ends: list[tuple[int, int]], leaving: dict[tuple[int, int], list[int]]
) -> int:
    """Return the side that comes after another one: of two, the one to the right, around the same pixel."""
    choices = leaving[ends[side]]
    if len(choices) == 1:
        return choices[0]
    (x0, y0), (x1, y1) = starts[side], ends[side]

    def turn(choice: int) -> int:
        x, y = ends[choice]
        return (x1 - x0) * (y - y1) - (y1 - y0) * (x - x1)

    return max(choices, key=turn)


def _without_straight(ring: np.ndarray) -> np.ndarray:
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _beside(ring: np.ndarray) -> np.ndarray:
    """Return a point of the pixels around a hole, next to the middle of its first side."""
    way = ring[1] - ring[0]
    length = np.hypot(*way)
    return ring[0] + way / 2 + np.array([-way[1], way[0]]) / length / 4


def _holds(ring: np.ndarray, point: np.ndarray) -> bool:
    start, end = ring, np.roll(ring, -1, axis=0)
    crosses = (start[:, 1] > point[1]) != (end[:, 1] > point[1])  # only sides that are upright
    return bool(np.count_nonzero(crosses & (start[:, 0] > point[0])) % 2)

"""Sets of pixels as runs down the columns, and what can be done to them without an array of all pixels.

Runs are (R, 3) int64, each (x, y0, y1): the pixels of column x from row y0 to row y1, the last one excluded. They rise
by column, then by row, and no two of a column overlap or touch. Places are those runs on one line, (K, 2) int64: column
by column with `height` pixels each, as COCO counts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NONE = np.zeros((0, 3), dtype=np.int64)

_AS_RUN = np.array([0, 1, 1])  # x and y, for the columns of runs

Keep = Callable[[np.ndarray, np.ndarray], np.ndarray]


def combined(first: np.ndarray, second: np.ndarray, keep: Keep) -> np.ndarray:
    """Return where `keep` holds of being in the one and in the other set of places.

    Args:
        first: (K, 2) half-open intervals of whole numbers, in any order; they may overlap.
        second: (L, 2) such intervals.
        keep: From two (M,) bool arrays, whether a place is in the first and in the second set, to an (M,) bool array,
            False where both are.

    Returns:
        (N, 2) rising intervals; no two overlap or touch.
    """
    ends = np.concatenate([first.ravel(), second.ravel()])
    # Empty intervals must not end before they begin.
    order = np.argsort(ends, kind="stable")
    steps = np.zeros((2, len(ends)), dtype=np.int64)
    steps[0, : first.size : 2], steps[0, 1 : first.size : 2] = 1, -1
    steps[1, first.size :: 2], steps[1, first.size + 1 :: 2] = 1, -1
    ends = ends[order]
    last = np.append(ends[1:] != ends[:-1], True)[: len(ends)]
    counts = np.cumsum(steps[:, order], axis=1)[:, last]
    inside = keep(counts[0] > 0, counts[1] > 0)
    changes = np.flatnonzero(np.diff(np.concatenate([[False], inside]).astype(np.int8)))
    return ends[last][changes].reshape(-1, 2)


def to_places(runs: np.ndarray, height: int) -> np.ndarray:
    """Return runs (R, 3) within `height` rows as places (R, 2), which may touch from column to column."""
    return runs[:, :1] * height + runs[:, 1:]


def from_places(places: np.ndarray, height: int) -> np.ndarray:
    """Return places (K, 2), rising and apart, as runs: those that reach over several columns are cut."""
    places = places[places[:, 1] > places[:, 0]]
    if not len(places):
        return NONE
    first, last = places[:, 0] // height, (places[:, 1] - 1) // height
    count = last - first + 1
    which = np.repeat(np.arange(len(places)), count)
    x = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    y0 = np.maximum(places[which, 0] - x * height, 0)
    y1 = np.minimum(places[which, 1] - x * height, height)
    return np.stack([x, y0, y1], axis=1)


def normalised(runs: np.ndarray) -> np.ndarray:
    """Return runs in any order, which may overlap, touch or be empty, as runs that rise and lie apart."""
    runs = runs[runs[:, 2] > runs[:, 1]]
    if not len(runs):
        return NONE
    low = runs.min(axis=0)
    height = int(runs[:, 2].max() - low[1]) + 1  # a row is free between columns
    moved = runs - low[_AS_RUN]
    places = combined(to_places(moved, height), NONE[:, :2], np.logical_or)
    return from_places(places, height) + low[_AS_RUN]


def of_array(pixels: np.ndarray) -> np.ndarray:
    """Return the runs of the pixels (height, width) that are not zero."""
    height = pixels.shape[0]
    # Only the part that holds something is copied.
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return NONE
    x, y, height = columns[0], rows[0], int(rows[-1] - rows[0]) + 1
    part = pixels[y : y + height, x : columns[-1] + 1] != 0
    flat = np.concatenate([[False], part.ravel(order="F"), [False]])
    return from_places(np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2), height) + np.array((x, y, y))


def to_array(runs: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the pixels (height, width) bool that runs cover; those beyond the array are left out."""
    runs = clipped(runs, 0, 0, width, height)
    steps = np.zeros((height + 1, width), dtype=np.int8)
    steps[runs[:, 1], runs[:, 0]] = 1
    steps[runs[:, 2], runs[:, 0]] = -1  # no run begins where another one ends
    return np.cumsum(steps[:-1], axis=0, dtype=np.int8).astype(bool)


def clipped(runs: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Return the part of runs within columns x0 to x1 and rows y0 to y1, the last ones excluded."""
    runs = runs[(runs[:, 0] >= x0) & (runs[:, 0] < x1)]
    cut = np.stack([runs[:, 0], np.maximum(runs[:, 1], y0), np.minimum(runs[:, 2], y1)], axis=1)
    return cut[cut[:, 2] > cut[:, 1]]


def transposed(runs: np.ndarray) -> np.ndarray:
    """Return the runs with x and y exchanged, which are those along the rows."""
    if not len(runs):
        return NONE
    low = runs.min(axis=0)
    height = int(runs[:, 2].max() - low[1])
    places = to_places(runs - low[_AS_RUN], height)
    beside = places + height  # the pixels one column further
    begins, ends = (
        _each(combined(one, other, lambda a, b: a & ~b)) for one, other in ((places, beside), (beside, places))
    )
    columns = []
    for edge in (begins, ends):
        x, y = edge // height, edge % height
        columns.append((x, y)[0][np.lexsort((x, y))] + low[0])
        rows = y[np.lexsort((x, y))] + low[1]
    return np.stack([rows, *columns], axis=1)


def _each(places: np.ndarray) -> np.ndarray:
    """Return every whole number in places (K, 2)."""
    count = places[:, 1] - places[:, 0]
    return np.repeat(places[:, 0] - (np.cumsum(count) - count), count) + np.arange(count.sum())


def scaled(runs: np.ndarray, x_factor: float, y_factor: float) -> np.ndarray:
    """Return runs on an image of another size: a pixel is in if the pixel below its centre was."""
    x0, x1 = (np.ceil((runs[:, 0] + end) * x_factor - 0.5).astype(np.int64) for end in (0, 1))
    y0, y1 = (np.ceil(runs[:, end] * y_factor - 0.5).astype(np.int64) for end in (1, 2))
    count = x1 - x0
    x = _each(np.stack([x0, x1], axis=1))
    return normalised(np.stack([x, np.repeat(y0, count), np.repeat(y1, count)], axis=1))
